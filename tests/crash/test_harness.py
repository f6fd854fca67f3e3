"""The harness's own parts: what the judge counts as explained, and that the proxy is a network, not a scrambler."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from tests.crash.judge import beyond, deliveries, meant
from tests.crash.proxy import Proxy
from tests.crash.result import Result

from llegada_dev.ports import free_base


def test_only_an_unknown_outcome_of_the_same_effect_explains_a_double() -> None:
    made = Counter({1: 1, 2: 3, 3: 2, 4: 1})
    assert beyond(made, {2: 1, 4: 5}, [1, 2, 3]) == (4, 2)  # 2 twice too often, 3 once, and nobody wanted 4
    result = Result(reservations=3, doubled_messages=4, explained_messages=2)
    assert (result.doubled, result.lost) == (2, 0)


def test_an_event_that_one_subscriber_has_missed_is_lost() -> None:
    event = "reservation.cancelled"
    *others, (last, _) = meant([event])
    handled = [(subscriber, event, 3) for subscriber, _ in others]
    assert deliveries({event: 3}, [*handled, (last, event, 3)]) == (3 * len(handled) + 3, 0)
    found, missing = deliveries({event: 3}, [*handled, (last, event, 1)])
    assert (found, missing, Result(lost_deliveries=missing).lost) == (3 * len(handled) + 1, 2, 2)


@pytest_asyncio.fixture
async def proxy() -> AsyncGenerator[Proxy]:
    base = free_base()

    echoes: list[asyncio.Task[None] | None] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echoes.append(asyncio.current_task())
        try:
            while data := await reader.read(1000):
                writer.write(data)
        finally:
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", base + 1):
        with Proxy(base, base + 1).running() as made:
            yield made
        # Before the loop ends: a socket that is still open would be blamed on a later test.
        await asyncio.gather(*(task for task in echoes if task is not None), return_exceptions=True)


async def test_delayed_bytes_keep_their_order_when_the_delay_ends(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    sent = [f"{number:04}".encode() for number in range(300)]
    for number, chunk in enumerate(sent):
        proxy.delay = 0.05 if number % 100 < 50 else 0.0
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(0.001)
    assert await asyncio.wait_for(reader.readexactly(4 * 300), 30) == b"".join(sent)
    writer.close()


async def test_a_cut_ends_what_is_open_and_refusing_lets_nobody_in(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"x")
    assert await asyncio.wait_for(reader.readexactly(1), 30) == b"x"
    proxy.refusing = True
    proxy.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 30)
    writer.close()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await _first_byte(proxy.port)


async def _first_byte(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await asyncio.wait_for(reader.readexactly(1), 30)
    finally:
        writer.close()

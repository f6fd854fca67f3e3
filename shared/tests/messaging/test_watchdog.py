"""A process that stopped silently is noticed; one that has a reason for its silence is left alone."""

import asyncio
from collections.abc import Sequence

import pytest

from llegada.messaging.broker import Binding
from llegada.runtime.watchdog import Watchdog, depth_over_amqp
from llegada.testing.eventually import eventually

from .conftest import Worker, created

SHORT = 0.3


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


@pytest.fixture
async def binding(worker: Worker) -> Binding:
    await worker.declare()
    return await worker.consume()


def watchdog(binding: Binding, url: str, database=yes) -> Watchdog:  # type: ignore[no-untyped-def]
    async def depth(queues: Sequence[str]) -> int | None:
        return await depth_over_amqp(url, queues)

    return Watchdog([binding], [], database, depth, silent=SHORT)


async def stop_consuming(binding: Binding) -> None:
    """The consumers are gone at the broker, and this side does not know."""
    for subscriber in binding._subscribers:
        queue, tag = subscriber._queue_obj, subscriber._consumer_tag
        assert queue is not None
        assert tag is not None
        await queue.cancel(tag)


async def quiet(binding: Binding) -> None:
    """Until the last settlement is long enough ago."""
    loop = asyncio.get_running_loop()
    await eventually(lambda: loop.time() - binding.last_settled > SHORT * 1.5, 5)


async def test_consumers_that_are_gone_while_messages_wait_are_noticed(
    worker: Worker, binding: Binding, broker_url: str
) -> None:
    dog = watchdog(binding, broker_url)
    await stop_consuming(binding)
    worker.relay()
    await worker.publish(created())
    await eventually(lambda: _waiting(binding, broker_url), 10)
    await quiet(binding)
    assert not await dog.alive()


async def _waiting(binding: Binding, url: str) -> int:
    return await depth_over_amqp(url, binding.queues) or 0


async def test_empty_queues_are_no_reason(binding: Binding, broker_url: str) -> None:
    await quiet(binding)
    assert await watchdog(binding, broker_url).alive()


async def test_a_handler_that_never_ends_is_noticed(worker: Worker, binding: Binding, broker_url: str) -> None:
    binding.in_flight += 1
    await quiet(binding)
    assert not await watchdog(binding, broker_url).alive()
    binding.in_flight -= 1


async def test_a_database_that_is_away_is_no_reason(worker: Worker, binding: Binding, broker_url: str) -> None:
    binding.in_flight += 1
    await quiet(binding)
    assert await watchdog(binding, broker_url, no).alive()
    binding.in_flight -= 1


async def test_a_depth_that_nobody_knows_is_no_reason(binding: Binding) -> None:
    await quiet(binding)
    assert await watchdog(binding, "amqp://guest:guest@127.0.0.1:1/").alive()


async def test_a_live_lease_is_a_reason_for_silence(worker: Worker, binding: Binding, broker_url: str) -> None:
    worker.probe.gate = asyncio.Event()
    worker.relay()
    await worker.publish(created())
    await worker.probe.entered.wait()
    await quiet(binding)
    assert binding.in_flight
    assert await watchdog(binding, broker_url).alive()
    worker.probe.gate.set()

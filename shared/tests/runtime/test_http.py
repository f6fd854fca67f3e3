"""What a failed transport proves: nothing was sent, or it may have been worked. On real sockets."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from llegada.messaging.failures import Failure, OutcomeUnknown, Transient
from llegada.runtime import http
from llegada.runtime.http import ProviderClient


@asynccontextmanager
async def provider(answer: bytes | None, *, hold: bool = False) -> AsyncGenerator[ProviderClient]:
    """A server that reads one request, answers these bytes, and hangs up (or holds the line)."""
    released = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer:
            writer.write(answer)
            await writer.drain()
        if hold:
            await released.wait()
        writer.transport.abort()

    server = await asyncio.start_server(peer, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, ProviderClient("bold", f"http://127.0.0.1:{port}") as client:
        yield client
        released.set()


async def failure(client: ProviderClient, method: str) -> Failure:
    with pytest.raises(Failure) as caught:
        await client.request("op", method, "/x", headers={}, json={"a": 1} if method == "POST" else None)
    return caught.value


async def test_refused_means_nothing_was_sent() -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with ProviderClient("bold", f"http://127.0.0.1:{port}") as client:
        assert isinstance(await failure(client, "POST"), Transient)


async def test_an_unknown_name_means_nothing_was_sent() -> None:
    async with ProviderClient("bold", "http://nobody.invalid") as client:
        assert isinstance(await failure(client, "POST"), Transient)


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", b"HTTP/1.1 200", b"nonsense\r\n\r\n"],
    ids=["cut before the answer", "cut inside the body", "cut inside the status", "not HTTP"],
)
async def test_cut_after_the_request_was_sent_means_unknown_unless_it_only_read(answer: bytes | None) -> None:
    async with provider(answer) as client:
        assert isinstance(await failure(client, "POST"), OutcomeUnknown)
        assert isinstance(await failure(client, "GET"), Transient)


async def test_no_answer_in_time_means_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_TIMEOUT", httpx.Timeout(0.2))
    async with provider(None, hold=True) as client:
        assert isinstance(await failure(client, "POST"), OutcomeUnknown)


async def test_the_answer_comes_back_whatever_its_status() -> None:
    async with provider(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}") as client:
        answer = await client.request("op", "POST", "/x", headers={"a": "b"}, json={})
        assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (429, "7", {})

"""A TCP proxy between the services and what they depend on: it can cut all connections, refuse new ones, and delay."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop


class Proxy:
    """`delay`: seconds that every chunk is held back, in order, both ways. `refusing`: no new connection gets through.

    Each connection is two halves, one socket each.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.delay = 0.0
        self.refusing = False
        self.loop = uvloop.new_event_loop()
        self.port, self.target_port = port, target_port
        self.open: set[_Half] = set()

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        listening = threading.Event()
        thread = threading.Thread(target=self._serve, args=[listening], daemon=True)
        thread.start()
        if not listening.wait(10):
            raise AssertionError(f"the proxy does not listen on port {self.port}")
        try:
            yield self
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join(10)

    def cut(self) -> None:
        """End every connection at once, without a word, as a network does."""
        self.loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for half in list(self.open):
            half.abort()

    def _serve(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(self.loop.create_server(lambda: _Client(self), "127.0.0.1", self.port))
        listening.set()
        self.loop.run_forever()
        server.close()
        self._cut()
        self.loop.run_until_complete(server.wait_closed())
        self.loop.run_until_complete(asyncio.sleep(0))  # every socket is told that it is closed
        self.loop.close()


class _Half(asyncio.Protocol):
    """One of a connection's two sockets: what comes in here goes out at `other`."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.other: _Half | None = None
        """Until it is there, what comes in is held."""
        self._held: deque[tuple[float, bytes]] = deque()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has its methods, and is no subclass
        self._proxy.open.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and not (self._proxy.delay or self._held):
            self.other.transport.write(data)
            return
        self._held.append((self._proxy.loop.time() + self._proxy.delay, data))
        if len(self._held) == 1:
            self.release()

    def release(self) -> None:
        """Write what is due, and come back for the rest: nothing overtakes."""
        if self.other is None:
            return
        now = self._proxy.loop.time()
        while self._held and self._held[0][0] <= now:
            self.other.transport.write(self._held.popleft()[1])
        if self._held:
            self._proxy.loop.call_later(self._held[0][0] - now, self.release)
        elif self._ended:
            self.other.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._proxy.open.discard(self)
        self._ended = True
        if not self._held and self.other is not None:
            self.other.transport.close()

    def abort(self) -> None:
        self._held.clear()
        self.transport.abort()

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class _Client(_Half):
    """The half that a service opened; the other one is opened for it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._proxy.refusing:
            self.abort()
            return
        self._opening = self._proxy.loop.create_task(self._open())

    async def _open(self) -> None:
        server = _Half(self._proxy)
        try:
            await self._proxy.loop.create_connection(lambda: server, "127.0.0.1", self._proxy.target_port)
        except OSError:
            self.abort()
            return
        server.other, self.other = self, server
        if self.transport.is_closing():
            server.abort()
        self.release()
        server.release()

"""How many effects of one subscription may be inside their calls, and who is next."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from llegada.messaging.envelope import Lane


class Turns:
    """A semaphore with lanes: whoever is interactive goes before all that is bulk, else first come, first served."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncGenerator[None]:
        """Wait for a turn, and have it inside the block."""
        await self._take(lane)
        try:
            yield
        finally:
            self._give()

    async def _take(self, lane: Lane) -> None:
        if self._free:  # then nobody waits: a turn that ends is handed over
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting[lane].append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # it came at the moment of the cancellation
                self._give()
            raise

    def _give(self) -> None:
        for lane in (Lane.INTERACTIVE, Lane.BULK):
            while self._waiting[lane]:
                following = self._waiting[lane].popleft()
                if not following.done():
                    following.set_result(None)
                    return
        self._free += 1

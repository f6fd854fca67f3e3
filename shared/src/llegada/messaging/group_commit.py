"""Group commit: what waits at the same time is worked together, and what fails then is worked alone.

There is no timer: a batch grows only while the one before it is being worked, so nothing waits on an idle system.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

I_contra = TypeVar("I_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

SIZE = 100
"""Items of one batch at most."""


class GroupCommit(Generic[I_contra, R_co]):
    """`work` takes a batch and returns one result for each item, all or nothing (a transaction).

    Where it raises, each item is worked alone, so that one poisoned item fails by itself.
    """

    def __init__(self, work: Callable[[Sequence[I_contra]], Awaitable[Sequence[R_co]]]) -> None:
        self._work = work
        self._waiting: list[tuple[I_contra, asyncio.Future[R_co]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: I_contra) -> R_co:
        """The item's result, or what `work` raised for it alone. Cancelling the caller does not cancel the work."""
        future: asyncio.Future[R_co] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            # A context of its own: what one caller bound to its logs is not the others'.
            self._running = asyncio.create_task(self._run(), context=Context())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:SIZE], self._waiting[SIZE:]
                await self._flush(batch)
        finally:
            self._running = None

    async def _flush(self, batch: Sequence[tuple[I_contra, "asyncio.Future[R_co]"]]) -> None:
        try:
            results = await self._work([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it reaches the caller whose item it belongs to
            if len(batch) > 1:
                for one in batch:
                    await self._flush([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

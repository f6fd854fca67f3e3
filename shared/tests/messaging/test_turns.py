"""Who may call a provider next."""

import asyncio

from llegada.messaging.envelope import Lane
from llegada.messaging.turns import Turns


class Callers:
    """Each notes its name when its turn comes, and has it until it is let go."""

    def __init__(self, count: int) -> None:
        self.turns = Turns(count)
        self.order: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def come(self, name: str, lane: Lane) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()

        async def call() -> None:
            async with self.turns.turn(lane):
                self.order.append(name)
                await self._ends[name].wait()

        return asyncio.create_task(call())

    def let_go(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()


async def settled() -> None:
    """Everything that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_interactive_goes_before_all_bulk_that_waits_longer() -> None:
    callers = Callers(2)
    bulk = [f"bulk {number}" for number in range(5)]
    tasks = [callers.come(name, Lane.BULK) for name in bulk]
    await settled()
    tasks += [callers.come(name, Lane.INTERACTIVE) for name in ("staff 0", "staff 1")]
    await settled()
    assert callers.order == bulk[:2]
    callers.let_go("bulk 0")
    await settled()
    assert callers.order == [*bulk[:2], "staff 0"]
    callers.let_go(*bulk, "staff 0", "staff 1")
    await asyncio.gather(*tasks)
    assert callers.order == [*bulk[:2], "staff 0", "staff 1", *bulk[2:]]


async def test_who_gives_up_takes_no_turn_with_it() -> None:
    callers = Callers(1)
    first, second, third = (callers.come(name, Lane.BULK) for name in ("first", "second", "third"))
    await settled()
    second.cancel()
    await settled()
    callers.let_go("first", "third")
    await asyncio.gather(first, third)
    assert callers.order == ["first", "third"]
    fourth = callers.come("fourth", Lane.BULK)
    await settled()
    fifth = callers.come("fifth", Lane.BULK)
    await settled()
    callers.let_go("fourth")
    await asyncio.wait([fourth])  # the fifth has its turn now, but has not run yet
    fifth.cancel()
    await asyncio.wait([fifth])
    sixth = callers.come("sixth", Lane.BULK)
    callers.let_go("sixth")
    async with asyncio.timeout(5):
        await sixth

"""Who may call a provider next."""

import asyncio

from llegada.messaging.envelope import Lane
from llegada.messaging.turns import Turns
from llegada.testing.eventually import eventually


class Callers:
    """Each notes its name when its turn comes, and has it until it is let go. They queue up in the order of `come`."""

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


async def test_what_is_interactive_goes_before_all_bulk_that_waits_longer() -> None:
    callers = Callers(2)
    bulk = [f"bulk {number}" for number in range(5)]
    tasks = [callers.come(name, Lane.BULK) for name in bulk]
    tasks += [callers.come(name, Lane.INTERACTIVE) for name in ("staff 0", "staff 1")]
    await eventually(lambda: callers.order == bulk[:2])
    callers.let_go("bulk 0")
    await eventually(lambda: callers.order == [*bulk[:2], "staff 0"])
    callers.let_go(*bulk, "staff 0", "staff 1")
    await asyncio.gather(*tasks)
    assert callers.order == [*bulk[:2], "staff 0", "staff 1", *bulk[2:]]


async def test_who_gives_up_waiting_takes_no_turn_with_it() -> None:
    callers = Callers(1)
    first, second, third = (callers.come(name, Lane.BULK) for name in ("first", "second", "third"))
    await eventually(lambda: callers.order == ["first"])
    second.cancel()
    await asyncio.wait([second])
    callers.let_go("first", "third")
    await asyncio.gather(first, third)
    assert callers.order == ["first", "third"]


async def test_who_is_cancelled_as_its_turn_comes_hands_it_on() -> None:
    callers = Callers(1)
    let_go, waiting = asyncio.Event(), list[asyncio.Task[None]]()

    async def ends_and_cancels_the_next() -> None:
        async with callers.turns.turn(Lane.BULK):
            callers.order.append("first")
            await let_go.wait()
        waiting[0].cancel()  # has been given the turn, and has not run since

    first = asyncio.create_task(ends_and_cancels_the_next())
    waiting += [callers.come("second", Lane.BULK), callers.come("third", Lane.BULK)]
    await eventually(lambda: callers.order == ["first"])
    callers.let_go("third")
    let_go.set()
    async with asyncio.timeout(5):
        await asyncio.gather(first, waiting[1])
    assert waiting[0].cancelled()
    assert callers.order == ["first", "third"]

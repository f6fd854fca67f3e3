"""Work that the clock starts goes on after what passes, and ends with what is a bug."""

import asyncio

import asyncpg
import pytest

from llegada.runtime.periodic import Clockwork


@pytest.mark.parametrize("kind", [asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError])
async def test_a_statement_that_the_database_ended_is_tried_again(kind: type[Exception]) -> None:
    stopping, errors = asyncio.Event(), [kind("statement timeout, or deadlock")]

    async def work() -> None:
        if errors:
            raise errors.pop()
        stopping.set()

    async with asyncio.timeout(5):
        await Clockwork("reservation-api", "promises", 0.01, work).run(stopping)


async def test_a_bug_ends_it() -> None:
    async def work() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await Clockwork("reservation-api", "promises", 0.01, work).run(asyncio.Event())

"""A scheduler in a process of its own, at an hour that is given; it stops at a point, and waits there to be killed.

    python dying_scheduler.py <database> <ISO time> claimed|written|committed|nowhere

Prints `there` at the point; at the end, if it comes to that, how many invitations it ordered.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from llegada.messaging.transaction import Database, Transaction
from llegada.runtime.database import SYSTEM_ROLE, engine
from reservation_api.schedule.clock import invite_late_arrivals


class Stopping(Database):
    """`point`: where the whole process stands still; the transaction is open until `committed`."""

    def __init__(self, made: AsyncEngine, schema: str, point: str) -> None:
        super().__init__(made, schema)
        self._point = point

    @asynccontextmanager
    async def transaction(self, settings: str | None = None) -> AsyncGenerator[Transaction]:
        async with super().transaction(settings) as tx:
            if self._point == "claimed":
                tx.add_query_logger(self._note)
            yield tx
            self._reached("written")
        self._reached("committed")

    def _note(self, query: object) -> None:
        if "insert into schedule_runs" in str(query):
            self._reached("claimed")

    def _reached(self, point: str) -> None:
        if point == self._point:
            _say("there")
            sys.stdin.readline()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(url: str, now: str, point: str) -> None:
    made = engine(url, "reservation_api", role=SYSTEM_ROLE)
    database = Stopping(made, "reservation_api", point)
    ordered = await invite_late_arrivals(database, "https://desk.test", datetime.fromisoformat(now))
    _say(str(ordered))
    await made.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""QUEUE_ENABLED=false: the same path without a broker. A dispatcher claims outbox rows and hands them to subscribers.

What a request writes is claimed at birth (`held_until`), so that nobody else takes it while the request works the
chain; a crash lets the claim run out and the loop takes over. A failed attempt is a row addressed to its rung with
`due_at`, as with a broker; a dead letter is a row until the keeper has stored it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog

from llegada.events.event import Event
from llegada.messaging.clean_up import clean_up
from llegada.messaging.dead_letters import Keeper
from llegada.messaging.dead_letters import read as read_dead_letter
from llegada.messaging.delivery import Consumer
from llegada.messaging.envelope import Envelope, read
from llegada.messaging.outbox import release
from llegada.messaging.topology import DEAD_LETTERS, EVENTS, EVENTS_BULK, dead_letter_queue
from llegada.messaging.transaction import Database, database_away

log = structlog.get_logger()

_CLAIM = timedelta(seconds=90)
"""Longer than a request's budget and the longest chain of calls behind it."""
_IDLE = 0.2  # seconds between looks at the outboxes
_BATCH = 20
_CLEANING = 60.0  # seconds between clean-ups

_DUE = """
update outbox set held_until = now() + $1
where id in (
    select id from outbox
    where (held_until is null or held_until < now()) and (due_at is null or due_at <= now())
    order by lane, id limit $2 for update skip locked
)
returning id, exchange, routing_key, message_id, type, properties, body
"""
_OWN = """
select id, exchange, routing_key, message_id, type, properties, body from outbox
where id = any($1::bigint[]) and (due_at is null or due_at <= now())
"""


@dataclass(frozen=True)
class Row:
    """An outbox row on its way to subscribers in this process."""

    schema: str
    id: int
    exchange: str
    routing_key: str
    envelope: Envelope
    headers: Mapping[str, Any]
    body: bytes


class InlineDispatcher:
    """Works the outboxes of all installed services; `databases` by service name."""

    def __init__(self, databases: Mapping[str, Database], keeper: Keeper) -> None:
        self._databases = databases
        self._keeper = keeper
        self._consumers: dict[str, Consumer[Any]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def add(self, consumers: Sequence[Consumer[Any]]) -> None:
        """Consumers join before the loop starts; their services are among `databases`."""
        self._consumers.update({consumer.name: consumer for consumer in consumers})

    def held_until(self) -> datetime:
        """The claim for rows that a request is about to write."""
        return datetime.now(UTC) + _CLAIM

    async def work(self, service: str, ids: Sequence[int], budget_seconds: float) -> None:
        """Work these rows and everything that follows from them, until nothing is due or the budget is used up.

        What is inside a provider's call then is not cut off: it goes on, and the answer says `processing`.
        """
        task = asyncio.create_task(self._chain([(service, list(ids))], datetime.now(UTC), budget_seconds))
        self._keep(task)
        await asyncio.wait([task], timeout=budget_seconds)

    async def loop(self) -> None:
        """Work rows that are due: planned retries, what waited for the broker, what a crash left behind."""
        next_cleaning = 0.0
        while not self._stopping.is_set():
            found = 0
            try:
                if time.monotonic() >= next_cleaning:
                    await self._clean_up()
                    next_cleaning = time.monotonic() + _CLEANING
                for service in self._databases:
                    found += await self._work_due(service)
            except Exception as error:
                if not database_away(error):
                    raise
                log.warning("database_away", error=type(error).__name__)
            if not found:
                await _wait(self._stopping, _IDLE)

    async def _clean_up(self) -> None:
        for database in self._databases.values():
            async with database.connection() as connection:
                await clean_up(connection)

    async def drain(self, seconds: float) -> None:
        """Stop taking rows, and wait for what was begun."""
        self._stopping.set()
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def _work_due(self, service: str) -> int:
        async with self._databases[service].connection() as connection:
            rows = await connection.fetch(_DUE, _CLAIM, _BATCH)
        chains = [asyncio.create_task(self._rows(service, [row])) for row in rows]
        for chain in chains:
            self._keep(chain)
        if chains:
            await asyncio.wait(chains)
        return len(rows)

    async def _rows(self, service: str, rows: Sequence[asyncpg.Record]) -> None:
        await self._chain([(service, [row["id"] for row in rows])], datetime.now(UTC), _CLAIM.total_seconds())

    async def _chain(self, start: list[tuple[str, list[int]]], began: datetime, budget_seconds: float) -> None:
        waiting = deque(start)
        while waiting:
            service, ids = waiting.popleft()
            if not ids:
                continue
            if (datetime.now(UTC) - began).total_seconds() >= budget_seconds:
                async with self._databases[service].connection() as connection:
                    await release(connection, ids)
                continue
            async with self._databases[service].connection() as connection:
                rows = [_row(service, record) for record in await connection.fetch(_OWN, ids)]
            for row in rows:
                waiting.extend(await self._dispatch(row))

    async def _dispatch(self, row: Row) -> list[tuple[str, list[int]]]:
        """Hand one row to its subscribers side by side; deleted once every one of them has settled it."""
        if row.exchange == DEAD_LETTERS:
            queue = dead_letter_queue(row.routing_key)
            await self._keeper.keep(read_dead_letter(queue, row.routing_key, row.envelope, row.headers, row.body))
            await self._delete(row)
            return []
        takers = self._takers(row)
        if not takers and row.exchange not in (EVENTS, EVENTS_BULK):
            log.error("unroutable", routing_key=row.routing_key, outbox_id=row.id)
            return []  # the claim runs out, and it is said again
        claim = self.held_until()
        results = await asyncio.gather(*(taker.deliver(row.envelope, row.body, claim) for taker in takers))
        await self._delete(row)
        return [(taker.service, ids) for taker, ids in zip(takers, results, strict=True)]

    async def _delete(self, row: Row) -> None:
        async with self._databases[row.schema].connection() as connection:
            await connection.execute("delete from outbox where id = $1", row.id)

    def _takers(self, row: Row) -> list[Consumer[Any]]:
        if row.exchange not in (EVENTS, EVENTS_BULK):
            name = row.routing_key.removesuffix(".bulk")
            return [self._consumers[name]] if name in self._consumers else []
        return [
            consumer
            for consumer in self._consumers.values()
            if any(event is Event or event.type == row.envelope.type for event in consumer.subscription.consumes)
        ]

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What was claimed and not worked is taken up by the loop when the claim runs out."""
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("chain_interrupted", exc_info=error)


def _row(service: str, record: asyncpg.Record) -> Row:
    properties = record["properties"]
    properties["headers"].setdefault("sequence", record["id"])
    envelope = read(record["message_id"], record["type"], **properties)
    headers = properties["headers"]
    return Row(service, record["id"], record["exchange"], record["routing_key"], envelope, headers, record["body"])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

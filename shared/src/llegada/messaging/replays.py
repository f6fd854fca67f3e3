"""Sends replays: one message, then ten, then so many a second, and stops by itself when they fail again.

Each step waits until it is known what became of the messages of the one before; the services' inboxes say so. Rows are
sent through the outbox of the service that keeps dead letters, to the one queue that failed, under the old message id
and with the next pass.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from llegada.messaging import envelope as envelopes
from llegada.messaging import metrics, outbox
from llegada.messaging.dead_letter_desk import OPEN, log
from llegada.messaging.outbox import OutboxMessage
from llegada.messaging.transaction import Database, Transaction, database_away

logger = structlog.get_logger()

TICK = 1.0  # seconds
_CLEANING = 15.0  # seconds
FIRST, SECOND = 1, 11
"""How many have been sent after the first step, and after the second."""
LAST = 50
MOST_FAILED = 0.2
"""Share of the LAST settled messages that may fail again before a replay stops: however many went well before."""
NO_OUTCOME = timedelta(minutes=2)
"""How long a step may wait for what became of its messages."""
KEPT = timedelta(days=7)
"""How long a settled dead letter keeps its content; an open one never expires."""
REMEMBERED = timedelta(days=30)
"""How long the row of an expired one is kept; as long as the inbox."""
_ACTOR = "llegada"

_RUNNING = f"""
select id, organization_id, rate, total, sent_at, now() as now from replays
where state = 'running' and (sent_at is null or sent_at <= now() - interval '{TICK} seconds')
order by id for update skip locked
"""
_COUNTS = f"""
select count(*) filter (where state = 'queued') as queued, count(*) filter (where state = 'replayed') as pending,
       count(*) filter (where state = 'done') as done, count(*) filter (where state = 'failed_again') as failed,
       (select count(*) filter (where state = 'failed_again') from (
            select state from dead_letters where replay_id = $1 and state in ('done', 'failed_again')
            order by settled_at desc, id desc limit {LAST}) as last) as failed_lately
from dead_letters where replay_id = $1
"""
_NEXT = """
select id, queue, message_id, type, properties, coalesce(edited_body, body) as body from dead_letters
where replay_id = $1 and state = 'queued' order by id limit $2 for update
"""
_SENT = "update dead_letters set state = 'replayed' where id = any($1::bigint[])"
_TOUCH = "update replays set sent_at = now() where id = $1"
_END = "update replays set state = $2, reason = $3, ended_at = now() where id = $1"
_BACK = f"update dead_letters set state = '{OPEN}', replay_id = null where replay_id = $1 and state = 'queued'"
_OUTCOMES = """
update dead_letters d
set state = case when i.outcome = 'dead' then 'failed_again' else 'done' end, settled_at = now()
from {schema}.inbox i
where d.state = 'replayed' and d.service = $1 and i.subscriber = d.subscriber and i.message_id = d.message_id
  and i.pass > d.pass and i.outcome in ('done', 'skipped', 'dead')
"""
_EXPIRE = """
update dead_letters set state = 'expired', body = null, edited_body = null, headers = null, properties = '{}'
where state in ('done', 'failed_again', 'discarded') and settled_at < now() - $1::interval
"""
_FORGET = "delete from dead_letters where state = 'expired' and settled_at < now() - $1::interval"
_KINDS = 20
_OPEN_BY_KIND = f"""
select service, subscriber, error_class, fingerprint, count(*) as count
from dead_letters where state = '{OPEN}' group by 1, 2, 3, 4 order by 5 desc
"""


@dataclass(frozen=True)
class Counts:
    """Where the messages of a replay are. `failed_lately`: of the LAST settled ones."""

    queued: int
    pending: int
    done: int
    failed: int
    failed_lately: int

    @property
    def sent(self) -> int:
        return self.pending + self.done + self.failed


@dataclass(frozen=True)
class Send:
    count: int


@dataclass(frozen=True)
class Wait:
    pass


@dataclass(frozen=True)
class End:
    """`reason` None: finished; otherwise stopped, and why."""

    reason: str | None = None


def plan(counts: Counts, rate: int, waited: timedelta) -> Send | Wait | End:
    """The next step of a replay that sent its last message `waited` ago. Pure."""
    last = min(counts.done + counts.failed, LAST)
    if counts.sent <= SECOND and counts.pending:
        if waited > NO_OUTCOME:
            return End(f"of {counts.sent} messages {counts.pending} have no outcome yet; replay the rest later")
        return Wait()
    if counts.failed_lately > last * MOST_FAILED:
        return End(f"{counts.failed_lately} of the last {last} failed again")
    if not counts.queued:
        return Wait() if counts.pending and waited <= NO_OUTCOME else End()
    return Send(_size(counts.sent, rate, waited.total_seconds()))


def _size(sent: int, rate: int, waited: float) -> int:
    """How many the next step sends. What a late step missed, it makes up for, but never more than one other's."""
    if sent < SECOND:
        return SECOND - FIRST if sent else FIRST
    return round(rate * min(max(waited, TICK), 2 * TICK))


class Replayer:
    """The loop of the service that keeps dead letters. Replicas share the work: each replay has one sender at a time.

    `schemas`: service → its schema, where its inbox is read.
    """

    def __init__(self, database: Database, schemas: Mapping[str, str]) -> None:
        self._database = database
        self._schemas = schemas
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. The database may come and go."""
        next_cleaning = 0.0
        while not self._stopping.is_set():
            try:
                await self.step()
                if time.monotonic() >= next_cleaning:
                    await self.clean()
                    next_cleaning = time.monotonic() + _CLEANING
            except Exception as error:
                if not database_away(error):
                    raise
                logger.warning("database_away", error=type(error).__name__)
            try:
                async with asyncio.timeout(TICK):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End after the step in hand."""
        self._stopping.set()

    async def step(self) -> None:
        """Note what became of what was sent, and send what is due."""
        async with self._database.transaction() as tx:
            for service, schema in self._schemas.items():
                await tx.execute(_OUTCOMES.format(schema=schema), service)
        async with self._database.transaction() as tx:
            for replay in await tx.fetch(_RUNNING):
                await self._advance(tx, replay)

    async def clean(self) -> None:
        """Let the content of what was settled long ago go, and tell how many are open."""
        async with self._database.transaction() as tx:
            await tx.execute(_EXPIRE, KEPT)
            await tx.execute(_FORGET, REMEMBERED)
            kinds = await tx.fetch(_OPEN_BY_KIND)
        gauge = metrics.DEAD_LETTERS_OPEN
        gauge.clear()
        for service in self._schemas:  # the rest of each service, which may be nothing
            rest = sum(kind["count"] for kind in kinds[_KINDS:] if kind["service"] == service)
            gauge.labels(service=service, subscriber="other", error_class="other", fingerprint="other").set(rest)
        for service, subscriber, error_class, fingerprint, count in kinds[:_KINDS]:
            gauge.labels(service, subscriber, error_class, fingerprint).set(count)

    async def _advance(self, tx: Transaction, replay: asyncpg.Record) -> None:
        counts = await tx.fetchrow(_COUNTS, replay["id"])
        assert counts is not None  # an aggregate always has one row
        waited = replay["now"] - (replay["sent_at"] or replay["now"])
        match plan(Counts(**counts), replay["rate"], waited):
            case Send(count):
                await self._send(tx, await tx.fetch(_NEXT, replay["id"], count))
                await tx.execute(_TOUCH, replay["id"])
            case End(reason):
                state = "finished" if reason is None else "stopped"
                await tx.execute(_END, replay["id"], state, reason)
                await tx.execute(_BACK, replay["id"])
                detail = {"reason": reason or "all sent"}
                await log(tx, replay["organization_id"], _ACTOR, state, detail, replay_id=replay["id"])
                logger.info("replay_ended", replay=replay["id"], state=state, reason=reason)
            case Wait():
                return

    async def _send(self, tx: Transaction, rows: Sequence[asyncpg.Record]) -> None:
        now = datetime.now(UTC)
        await outbox.add(tx, [_message(row, now) for row in rows])
        await tx.execute(_SENT, [row["id"] for row in rows])


def _message(row: asyncpg.Record, now: datetime) -> OutboxMessage:
    """To the one queue that failed, through the default exchange: there `mandatory` sees a queue that is gone."""
    stored = envelopes.read(row["message_id"], row["type"], **row["properties"])
    return OutboxMessage("", row["queue"], stored.replay(now), row["body"])

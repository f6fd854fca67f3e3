"""Moves outbox rows to RabbitMQ: claim, publish in order with confirms, delete.

One relay per service is active at a time: it holds a session lock on its own connection, claims on the same one, and
writes a heartbeat, by which a standby ends a silent holder (its connection is terminated, its claim rolls back). A
relay that dies between confirm and commit sends rows again; consumers can tell by the message id.

faststream-outbox was looked at first; what it lacks stands in docs/decisions/0002.
"""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import structlog

from llegada.messaging import metrics, tracing
from llegada.messaging.clean_up import clean_up
from llegada.messaging.measure import Measures
from llegada.messaging.publisher import BROKER_AWAY, Outgoing, Publisher, Receipt
from llegada.messaging.transaction import Database, Transaction, database_away

log = structlog.get_logger()

BATCH = 200
IDLE = 0.05  # seconds between looks at an outbox that has less than a batch
STANDBY = 1.0  # seconds between tries to become the active relay
HEARTBEAT = 5.0  # seconds between beats
SILENT = 30  # seconds after which a standby ends the holder
_BACKOFF_FIRST, _BACKOFF_LAST = 0.2, 5.0

_HURRY = "set synchronous_commit = off"
"""What a dying database forgets of this connection's last commits is done again, as after a relay that died. To wait
for the disk would hold up those who must: commits queue there (docs/decisions/0041)."""
_LOCK = "select pg_try_advisory_lock(hashtext('llegada.relay'), hashtext(current_schema()))"
_BEAT = """
insert into relay_heartbeat (backend_pid) values (pg_backend_pid())
on conflict (id) do update set backend_pid = excluded.backend_pid, beat_at = now()
"""
_END_SILENT = f"""
select pg_terminate_backend(l.pid)
from pg_locks l join relay_heartbeat h on h.backend_pid = l.pid
where l.locktype = 'advisory' and l.granted and l.objsubid = 2
  and l.database = (select oid from pg_database where datname = current_database())
  and l.classid = (hashtext('llegada.relay')::bigint & 4294967295)::oid
  and l.objid = (hashtext(current_schema())::bigint & 4294967295)::oid
  and h.beat_at < now() - interval '{SILENT} seconds'
"""
_ANY = "select exists (select from outbox where held_until is null)"
_CLAIM = """
select id, exchange, routing_key, message_id, type, properties, body
from outbox where held_until is null
order by lane, id limit $1
for update skip locked
"""
_DELETE = "delete from outbox where id = any($1::bigint[])"
_HOLD = """
update outbox set held_until = now() + least(greatest(now() - created_at, interval '1 second'), interval '5 minutes')
where id = any($1::bigint[])
"""
_RELEASE = "update outbox set held_until = null where held_until < now()"


class Relay:
    """The relay of one service in one process. `database` has an engine without a pool: the connection is held."""

    def __init__(self, service: str, database: Database, publisher: Publisher) -> None:
        self.service = service
        self.active = False
        self.last_seen = time.monotonic()
        """When the loop last went round, on the monotonic clock: what health looks at."""
        self._database = database
        self._publisher = publisher
        self._stopping = asyncio.Event()
        self._backoff = _BACKOFF_FIRST
        self._measures = Measures(service)

    async def run(self) -> None:
        """Until `stop`: become the active relay, and move rows. Broker and database may come and go."""
        while not self._stopping.is_set():
            try:
                async with self._database.connection() as connection:
                    await connection.execute(_HURRY)
                    await self._lead(connection)
            except Exception as error:
                if not (database_away(error) or isinstance(error, BROKER_AWAY)):
                    raise
                log.warning("relay_interrupted", error=type(error).__name__, next_try_seconds=self._backoff)
                await self._pause(self._backoff)
                self._backoff = min(self._backoff * 2, _BACKOFF_LAST)
            finally:
                self._be(active=False)
        await self._publisher.close()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping.set()

    async def _lead(self, connection: Transaction) -> None:
        while not await connection.fetchval(_LOCK):
            self.last_seen = time.monotonic()
            self._measures.forget()
            if await connection.fetch(_END_SILENT):
                log.warning("silent_relay_ended")
            await self._pause(STANDBY)
            if self._stopping.is_set():
                return
        next_beat, moved = 0.0, 0
        while not self._stopping.is_set():
            self.last_seen = now = time.monotonic()
            if now >= next_beat:
                await self._beat(connection)
                next_beat = now + HEARTBEAT
            await self._publisher.connect()
            self._be(active=True)
            moved = await self._batch(connection) if moved or await connection.fetchval(_ANY) else 0
            self._backoff = _BACKOFF_FIRST
            if moved < BATCH:
                await self._pause(IDLE)

    async def _beat(self, connection: Transaction) -> None:
        await connection.execute(_BEAT)
        await connection.execute(_RELEASE)
        await clean_up(connection)
        await self._measures.take(connection)

    async def _batch(self, connection: Transaction) -> int:
        """Claim, publish, delete, in one transaction of at most some seconds; returns how many rows left."""
        async with connection.transaction():
            rows = _unique(await connection.fetch(_CLAIM, BATCH))
            receipts = await self._publisher.publish([_outgoing(row) for row in rows])
            by_receipt: dict[Receipt, list[int]] = {receipt: [] for receipt in Receipt}
            for row, receipt in zip(rows, receipts, strict=True):
                by_receipt[receipt].append(row["id"])
            if confirmed := by_receipt[Receipt.CONFIRMED]:
                await connection.execute(_DELETE, confirmed)
            if held := by_receipt[Receipt.UNROUTABLE] + by_receipt[Receipt.REFUSED]:
                await connection.execute(_HOLD, held)
        self._tell(by_receipt, rows)
        if by_receipt[Receipt.UNKNOWN]:
            raise ConnectionError("the broker did not confirm")
        return len(confirmed)

    def _tell(self, by_receipt: dict[Receipt, list[int]], rows: Sequence[asyncpg.Record]) -> None:
        metrics.OUTBOX_PUBLISHED.labels(service=self.service).inc(len(by_receipt[Receipt.CONFIRMED]))
        if unroutable := by_receipt[Receipt.UNROUTABLE]:
            metrics.OUTBOX_UNROUTABLE.labels(service=self.service).inc(len(unroutable))
        for receipt in (Receipt.UNROUTABLE, Receipt.REFUSED):
            if kept := by_receipt[receipt]:
                keys = sorted({row["routing_key"] for row in rows if row["id"] in kept})
                log.error(receipt.value, routing_keys=keys, rows=len(kept))

    def _be(self, *, active: bool) -> None:
        self.active = active
        metrics.RELAY_ACTIVE.labels(service=self.service).set(active)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _unique(rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Two rows with one message id are never in flight together (the client would mix up their confirms)."""
    return list({row["message_id"]: row for row in reversed(rows)}.values())[::-1]


def _outgoing(row: asyncpg.Record) -> Outgoing:
    properties = row["properties"]
    properties["headers"].setdefault("sequence", row["id"])
    if tracing.active is not None:
        tracing.active.publish(row["exchange"], row["type"], properties["headers"])
    return Outgoing(
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        message_id=row["message_id"],
        type=row["type"],
        body=row["body"],
        **properties,
    )

"""Messages on their way out, written in the transaction that caused them. There is no other way out of a service."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any

from llegada.events.event import Event
from llegada.messaging.envelope import Envelope, Lane
from llegada.messaging.topology import DEAD_LETTERS, events_exchange, rung_name
from llegada.messaging.transaction import Transaction

LANES = {Lane.INTERACTIVE: 0, Lane.BULK: 1}

COLUMNS = "lane, exchange, routing_key, message_id, type, properties, body, due_at, held_until"
ARRAYS = """
$1::smallint[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::jsonb[], $7::bytea[], $8::timestamptz[],
$9::timestamptz[]
"""
"""One for each of COLUMNS, as `columns` fills them; a statement that writes more counts on from here."""
UNNEST = f"select * from unnest({ARRAYS})"
INSERT = f"insert into outbox ({COLUMNS}) {UNNEST} returning id"


@dataclass(frozen=True)
class OutboxMessage:
    """One row: where it goes, and the message itself. `due_at`: when an inline dispatcher may work it."""

    exchange: str
    routing_key: str
    envelope: Envelope
    body: bytes
    due_at: datetime | None = None

    @property
    def properties(self) -> str:
        """The envelope as the relay and the dispatcher read it back; see `stored`."""
        e = self.envelope
        return json.dumps(
            {"headers": e.headers(), "app_id": e.source, "correlation_id": e.correlation_id}, separators=(",", ":")
        )


def event_message(event: Event, envelope: Envelope) -> OutboxMessage:
    body = event.model_dump_json().encode()
    return OutboxMessage(events_exchange(envelope.lane), event.type, envelope, body)


def retry_message(queue: str, envelope: Envelope, body: bytes, delay: timedelta, due_at: datetime) -> OutboxMessage:
    """The same message once more, by the rung of `delay`, back into the one queue that failed."""
    return OutboxMessage(rung_name(delay), queue, envelope, body, due_at)


def dead_letter_message(service: str, envelope: Envelope, body: bytes) -> OutboxMessage:
    return OutboxMessage(DEAD_LETTERS, service, envelope, body)


def columns(messages: Sequence[OutboxMessage], held: Iterable[datetime | None]) -> tuple[list[Any], ...]:
    """The nine arrays of ARRAYS. `held`, for each message: an inline dispatcher claims what it writes at birth."""
    return (
        [LANES[m.envelope.lane] for m in messages],
        [m.exchange for m in messages],
        [m.routing_key for m in messages],
        [m.envelope.id for m in messages],
        [m.envelope.type for m in messages],
        [m.properties for m in messages],
        [m.body for m in messages],
        [m.due_at for m in messages],
        [
            None if m.due_at is not None or m.exchange == DEAD_LETTERS else until
            for m, until in zip(messages, held, strict=False)  # `held` may be endless
        ],
    )


async def add(
    tx: Transaction, messages: Sequence[OutboxMessage], held: Iterable[datetime | None] = repeat(None)
) -> list[int]:
    """Write rows into the caller's transaction; returns their ids, in order."""
    return [row["id"] for row in await tx.fetch(INSERT, *columns(messages, held))]


async def release(tx: Transaction, ids: Sequence[int]) -> None:
    """Give up a dispatcher's claim: whoever comes first may take the rows now."""
    await tx.execute("update outbox set held_until = null where id = any($1::bigint[])", ids)

"""Statements of the projection and of the timeline."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llegada.messaging.envelope import Envelope
from llegada.messaging.transaction import Transaction
from reservation_api.reservations.lifecycle import Changes

_LOCK = """
select steps, payment_link_intent from reservations where id = $1 and organization_id = $2 for update
"""
_KEEP = """
insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary)
values ($1, $2, $3, $4, $5, $6, $7) on conflict (event_id) do nothing
"""
_SAVE = """
with kept as (
    insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary)
    values ($1, $2, $3, $4, $5, $6, $7) on conflict (event_id) do nothing
)
update reservations
set steps = $8, processing_status = $9,
    payment_link = coalesce($10, payment_link), payment_link_intent = coalesce($11, payment_link_intent),
    sent_message = coalesce($12, sent_message), sent_message_at = coalesce($13, sent_message_at),
    status = case when $14 and status = 'confirmed' then 'notification_sent' else status end,
    updated_at = now()
where id = $2 and organization_id = $1
"""
_OF_RESERVATION = """
select type, source, happened_at, summary, null as actor from timeline
where organization_id = $1 and reservation_id = $2
union all
select action, 'reservation-api', at, '{}'::jsonb, actor from audit_log
where organization_id = $1 and subject = $3
order by happened_at, type limit $4 offset $5
"""
_COUNT = """
select (select count(*) from timeline where organization_id = $1 and reservation_id = $2)
     + (select count(*) from audit_log where organization_id = $1 and subject = $3)
"""


@dataclass(frozen=True)
class Known:
    steps: dict[str, Any]
    payment_link_intent: int


@dataclass(frozen=True)
class Entry:
    type: str
    source: str
    happened_at: datetime
    summary: dict[str, Any]
    actor: str | None


async def locked(tx: Transaction, reservation_id: int, organization_id: int) -> Known | None:
    row = await tx.fetchrow(_LOCK, reservation_id, organization_id)
    return None if row is None else Known(row["steps"], row["payment_link_intent"])


async def keep(tx: Transaction, reservation_id: int, envelope: Envelope, organization_id: int, summary: str) -> None:
    e = envelope
    await tx.execute(_KEEP, organization_id, reservation_id, e.id, e.type, e.source, e.time, summary)


async def save(
    tx: Transaction,
    reservation_id: int,
    envelope: Envelope,
    summary: str,
    steps: str,
    processing_status: str,
    changed: Changes,
) -> None:
    """Steps, the reservation's fields and the timeline in one statement."""
    e = envelope
    await tx.execute(
        _SAVE,
        e.organization,
        reservation_id,
        e.id,
        e.type,
        e.source,
        e.time,
        summary,
        steps,
        processing_status,
        changed.payment_link,
        changed.payment_link_intent,
        changed.sent_message,
        changed.sent_message_at,
        changed.notification_sent,
    )


async def of_reservation(
    tx: Transaction, organization_id: int, reservation_id: int, page: int, page_size: int
) -> tuple[list[Entry], int]:
    """One page of what happened, oldest first, and how much there is."""
    subject = f"reservation/{reservation_id}"
    total = await tx.fetchval(_COUNT, organization_id, reservation_id, subject)
    rows = await tx.fetch(_OF_RESERVATION, organization_id, reservation_id, subject, page_size, (page - 1) * page_size)
    return [Entry(**dict(row)) for row in rows], total

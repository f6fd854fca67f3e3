"""Statements of the projection and of the timeline."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from llegada.events.event import Event
from llegada.messaging.envelope import Envelope
from llegada.messaging.transaction import Transaction
from reservation_api.reservations.lifecycle import NO_CHANGES, Changes
from reservation_api.timeline.steps import Step, Steps, document, processing_status

_LOCK = """
select r.id, r.organization_id, r.steps, r.payment_link_intent, r.door_codes_intent
from reservations r
join unnest($1::bigint[], $2::bigint[]) as wanted (id, organization_id) using (id, organization_id)
order by r.id for update of r
"""
_SAVE = """
with kept as (
    insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary)
    select * from unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::jsonb[])
    on conflict (event_id) do nothing
)
update reservations r
set steps = n.steps, processing_status = n.processing_status,
    payment_link = coalesce(n.payment_link, r.payment_link),
    payment_link_intent = n.payment_link_intent,
    payment_link_expires_at = coalesce(n.payment_link_expires_at, r.payment_link_expires_at),
    door_codes = coalesce(n.door_codes, r.door_codes),
    door_codes_intent = n.door_codes_intent,
    invited_at = coalesce(n.invited_at, r.invited_at),
    sire_registered_at = coalesce(n.sire_registered_at, r.sire_registered_at),
    payment_status = case when n.payment_revision > r.payment_revision then n.payment_status else r.payment_status end,
    paid_amount = case when n.payment_revision > r.payment_revision then n.paid_amount else r.paid_amount end,
    payment_revision = greatest(n.payment_revision, r.payment_revision),
    sent_message = coalesce(n.sent_message, r.sent_message),
    sent_message_at = coalesce(n.sent_message_at, r.sent_message_at),
    status = case when n.notification_sent and r.status = 'confirmed' then 'notification_sent' else r.status end,
    updated_at = now()
from unnest($8::bigint[], $9::jsonb[], $10::text[], $11::text[], $12::integer[], $13::text[], $14::timestamptz[],
            $15::boolean[], $16::timestamptz[], $17::jsonb[], $18::integer[], $19::timestamptz[], $20::timestamptz[],
            $21::text[], $22::bigint[], $23::integer[])
     as n (id, steps, processing_status, payment_link, payment_link_intent, sent_message, sent_message_at,
           notification_sent, payment_link_expires_at, door_codes, door_codes_intent, invited_at, sire_registered_at,
           payment_status, paid_amount, payment_revision)
where r.id = n.id
"""
_OF_RESERVATION = """
select type, source, happened_at, summary, actor from (
    select type, source, happened_at, summary, null as actor, id from timeline
    where organization_id = $1 and reservation_id = $2
    union all
    select action, 'reservation-api', at, '{}'::jsonb, actor, id from audit_log
    where organization_id = $1 and subject = $3
) as happened
order by happened_at, type, actor, id limit $4 offset $5
"""
_COUNT = """
select (select count(*) from timeline where organization_id = $1 and reservation_id = $2)
     + (select count(*) from audit_log where organization_id = $1 and subject = $3)
"""


class Subject(NamedTuple):
    organization_id: int
    reservation_id: int


@dataclass
class Known:
    """A locked reservation: what the projection reads of it, and what it changes."""

    steps: Steps
    payment_link_intent: int
    door_codes_intent: int
    changes: Changes


@dataclass(frozen=True)
class NewEntry:
    """An event on its way into the timeline; `summary`: JSON."""

    subject: Subject
    envelope: Envelope
    event: Event
    summary: str


@dataclass(frozen=True)
class Entry:
    type: str
    source: str
    happened_at: datetime
    summary: dict[str, Any]
    actor: str | None


async def locked(tx: Transaction, wanted: Collection[Subject]) -> dict[Subject, Known]:
    """The reservations that exist, locked in the order of their ids."""
    rows = await tx.fetch(_LOCK, [s.reservation_id for s in wanted], [s.organization_id for s in wanted])
    return {
        Subject(row["organization_id"], row["id"]): Known(
            {name: Step.model_validate(step) for name, step in row["steps"].items()},
            row["payment_link_intent"],
            row["door_codes_intent"],
            NO_CHANGES,
        )
        for row in rows
    }


async def save(tx: Transaction, entries: Sequence[NewEntry], known: Mapping[Subject, Known]) -> None:
    """Steps, the reservations' fields and the timeline in one statement."""
    reservations = known.values()
    await tx.execute(
        _SAVE,
        [e.subject.organization_id for e in entries],
        [e.subject.reservation_id for e in entries],
        [e.envelope.id for e in entries],
        [e.envelope.type for e in entries],
        [e.envelope.source for e in entries],
        [e.envelope.time for e in entries],
        [e.summary for e in entries],
        [subject.reservation_id for subject in known],
        [document(r.steps) for r in reservations],
        [processing_status(r.steps) for r in reservations],
        [r.changes.payment_link for r in reservations],
        [r.payment_link_intent for r in reservations],
        [r.changes.sent_message for r in reservations],
        [r.changes.sent_message_at for r in reservations],
        [r.changes.notification_sent for r in reservations],
        [r.changes.payment_link_expires_at for r in reservations],
        [None if r.changes.door_codes is None else json.dumps(r.changes.door_codes) for r in reservations],
        [r.door_codes_intent for r in reservations],
        [r.changes.invited_at for r in reservations],
        [r.changes.sire_registered_at for r in reservations],
        [p.payment_status if (p := r.changes.payment) else None for r in reservations],
        [p.paid if (p := r.changes.payment) else None for r in reservations],
        [p.revision if (p := r.changes.payment) else None for r in reservations],
    )


async def of_reservation(
    tx: Transaction, organization_id: int, reservation_id: int, page: int, page_size: int
) -> tuple[list[Entry], int]:
    """One page of what happened, oldest first, and how much there is."""
    subject = f"reservation/{reservation_id}"
    total = await tx.fetchval(_COUNT, organization_id, reservation_id, subject)
    rows = await tx.fetch(_OF_RESERVATION, organization_id, reservation_id, subject, page_size, (page - 1) * page_size)
    return [Entry(**dict(row)) for row in rows], total

"""What guests wrote, and who answers."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from llegada.events.event import Event
from llegada.events.guest import (
    GuestMessageAnswered,
    GuestMessageHandedOver,
    GuestMessageReceived,
    GuestReplyReady,
)
from llegada.events.job import JobFailed, JobSkipped
from llegada.events.types import ReservationId
from llegada.messaging.transaction import Transaction

_KEEP = """
insert into guest_messages (organization_id, provider_message_id, phone, name, body, media, at, reservation_id)
select n.*, (
    select r.id from reservations r
    where r.organization_id = n.organization_id and r.guest_phone = n.phone
    order by (r.status in ('confirmed', 'notification_sent', 'checked_in')) desc, r.id desc limit 1
)
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
     as n (organization_id, provider_message_id, phone, name, body, media, at)
order by n.provider_message_id
on conflict (organization_id, provider_message_id) do nothing
returning provider_message_id, reservation_id
"""
_MARK = """
update guest_messages set state = n.state, reply = coalesce(n.reply, guest_messages.reply), updated_at = now()
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as n (organization_id, provider_message_id, state, reply)
where guest_messages.organization_id = n.organization_id
  and guest_messages.provider_message_id = n.provider_message_id
  and (guest_messages.state = 'received' or (guest_messages.state = 'needs_staff' and n.state = 'answered'))
"""
_LIST = """
select id, reservation_id, phone, name, body, media, at, state, reply, count(*) over () as total from guest_messages
where organization_id = $1 and ($2::text is null or state = $2) and ($3::bigint is null or reservation_id = $3)
order by at desc, id desc limit $4 offset $5
"""
_DONE = """
update guest_messages set state = 'done', updated_at = now()
where organization_id = $1 and id = $2 and state in ('received', 'needs_staff') returning true
"""

_ANSWERING = frozenset({GuestMessageReceived.type, GuestReplyReady.type})


async def keep(tx: Transaction, written: Sequence[GuestMessageReceived]) -> list[GuestMessageReceived]:
    """Store messages, and find whose they are; returns those that were not known before."""
    if not written:
        return []
    rows = await tx.fetch(
        _KEEP,
        [event.organization_id for event in written],
        [event.provider_message_id for event in written],
        [event.phone for event in written],
        [event.name for event in written],
        [event.text for event in written],
        [event.media for event in written],
        [event.at for event in written],
    )
    new = {row["provider_message_id"]: row["reservation_id"] for row in rows}
    return [
        event.model_copy(update={"reservation_id": _reservation(new[event.provider_message_id])})
        for event in written
        if event.provider_message_id in new
    ]


async def mark(tx: Transaction, events: Sequence[Event]) -> None:
    """Who answers: a rule did, or staff have to, also where the answer failed; a replay may answer at last."""
    news: dict[tuple[int, str], GuestMessageAnswered | None] = {}
    for event in events:
        message = _about(event)
        if message is not None:
            key = event.organization_id, message
            news[key] = event if isinstance(event, GuestMessageAnswered) else news.get(key)
    if news:
        await tx.execute(
            _MARK,
            [organization for organization, _ in news],
            [message for _, message in news],
            ["needs_staff" if answer is None else "answered" for answer in news.values()],
            [None if answer is None else answer.text for answer in news.values()],
        )


def _about(event: Event) -> str | None:
    """The guest's message for which this event says who answers it."""
    match event:
        case GuestMessageAnswered() | GuestMessageHandedOver():
            return event.provider_message_id
        case JobFailed() | JobSkipped() if event.cause_type in _ANSWERING:
            return event.cause_item
        case _:
            return None


async def page(
    tx: Transaction, organization_id: int, state: str | None, reservation_id: int | None, number: int, size: int
) -> list[asyncpg.Record]:
    """Newest first; each row carries the `total`."""
    return await tx.fetch(_LIST, organization_id, state, reservation_id, size, (number - 1) * size)


async def done(tx: Transaction, organization_id: int, message_id: int) -> bool:
    """Staff have seen to it; False if there is nothing to see to."""
    return bool(await tx.fetchval(_DONE, organization_id, message_id))


def _reservation(number: Any) -> ReservationId | None:
    return None if number is None else ReservationId(number)

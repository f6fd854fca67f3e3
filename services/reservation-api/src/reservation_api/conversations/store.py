"""What guests wrote, and who answers."""

from collections.abc import Sequence
from itertools import repeat
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
from llegada.messaging.outbox import ARRAYS, COLUMNS, OutboxMessage, columns
from llegada.messaging.transaction import Transaction
from reservation_api import pages

_WHOSE = """
select (
    select r.id from reservations r
    where r.organization_id = n.organization_id and r.guest_phone = n.phone
    order by (r.status in ('confirmed', 'notification_sent', 'checked_in')) desc, r.id desc limit 1
) as reservation_id
from unnest($1::bigint[], $2::text[]) with ordinality as n (organization_id, phone, place) order by n.place
"""
_KEEP = f"""
with kept as (
    insert into guest_messages (organization_id, provider_message_id, phone, name, body, media, at, reservation_id)
    select * from unnest($10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                         $16::timestamptz[], $17::bigint[])
         as n (organization_id, provider_message_id, phone, name, body, media, at, reservation_id)
    order by n.provider_message_id
    on conflict (organization_id, provider_message_id) do nothing
    returning organization_id, provider_message_id
)
insert into outbox ({COLUMNS})
select {COLUMNS}
from unnest({ARRAYS}, $10::bigint[], $11::text[])
     as o ({COLUMNS}, organization_id, provider_message_id)
where exists (select from kept k
              where (k.organization_id, k.provider_message_id) = (o.organization_id, o.provider_message_id))
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


async def whose(tx: Transaction, written: Sequence[GuestMessageReceived]) -> list[GuestMessageReceived]:
    """The same messages with the reservation that their sender has, if any."""
    rows = await tx.fetch(_WHOSE, [event.organization_id for event in written], [event.phone for event in written])
    return [
        event.model_copy(update={"reservation_id": _reservation(row["reservation_id"])})
        for event, row in zip(written, rows, strict=True)
    ]


async def keep(tx: Transaction, heard: Sequence[tuple[GuestMessageReceived, OutboxMessage]]) -> None:
    """Store messages, and publish those that were not known before: one statement, which may commit by itself."""
    written = [event for event, _ in heard]
    await tx.execute(
        _KEEP,
        *columns([message for _, message in heard], repeat(None)),
        [event.organization_id for event in written],
        [event.provider_message_id for event in written],
        [event.phone for event in written],
        [event.name for event in written],
        [event.text for event in written],
        [event.media for event in written],
        [event.at for event in written],
        [event.reservation_id for event in written],
    )


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
) -> tuple[list[asyncpg.Record], int]:
    """Newest first; and how many there are."""
    return await pages.page(tx, _LIST, organization_id, state, reservation_id, number=number, size=size)


async def done(tx: Transaction, organization_id: int, message_id: int) -> bool:
    """Staff have seen to it; False if there is nothing to see to."""
    return bool(await tx.fetchval(_DONE, organization_id, message_id))


def _reservation(number: Any) -> ReservationId | None:
    return None if number is None else ReservationId(number)

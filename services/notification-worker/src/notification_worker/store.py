"""Tables and statements of the schema notification_worker."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from llegada.events.guest import GuestMessageReceived
from llegada.events.notification import DeliveryStatus, NotificationReady, NotificationStatus
from llegada.events.organization import OrganizationConfigured, QuietHours, Reply, Wording
from llegada.events.types import OrganizationId, ReservationId
from llegada.messaging.effects import forget
from llegada.messaging.transaction import Database, Transaction
from notification_worker.messages import Booking
from notification_worker.quiet import ends

_LOCK = """
insert into bookings (reservation_id, organization_id)
select * from unnest($1::bigint[], $2::bigint[]) as wanted (reservation_id, organization_id) order by reservation_id
on conflict (reservation_id) do update set organization_id = bookings.organization_id
returning reservation_id, document
"""
_SAVE = """
update bookings b set document = n.document
from unnest($1::bigint[], $2::jsonb[]) as n (reservation_id, document) where b.reservation_id = n.reservation_id
"""
_CONFIGURE = """
insert into wordings (organization_id, revision, document, replies, quiet_hours, time_zone)
values ($1, $2, $3, $4, $5, $6)
on conflict (organization_id) do update
set revision = excluded.revision, document = excluded.document, replies = excluded.replies,
    quiet_hours = excluded.quiet_hours, time_zone = excluded.time_zone
where wordings.revision < excluded.revision
"""
_BEFORE_SENDING = """
select (select document from bookings where reservation_id = $1 and organization_id = $2) as booking,
       (select document from wordings where organization_id = $2) as wordings,
       exists (select from windows where organization_id = $2 and phone = $3
               and last_inbound_at > now() - interval '24 hours') as window_open,
       exists (select from windows where organization_id = $2 and phone = $3 and opted_out) as opted_out
"""
_HEAR = """
with heard as (
    insert into windows as w (organization_id, phone, last_inbound_at) values ($1, $2, $3)
    on conflict (organization_id, phone) do update
    set last_inbound_at = greatest(w.last_inbound_at, excluded.last_inbound_at)
)
select (select replies from wordings where organization_id = $1) as replies,
       (select document from bookings where reservation_id = $4 and organization_id = $1) as booking
"""
_OPT = "update windows set opted_out = $3 where organization_id = $1 and phone = $2"
_QUIET = "select quiet_hours, time_zone from wordings where organization_id = $1"
_FORGET = "delete from bookings where organization_id = $1 and reservation_id = any($2::bigint[])"
_CLEAN = "delete from statuses where noted_at < now() - interval '30 days'"


_NOTE_STATUS = """
insert into statuses as s (own_key, provider_message_id, status, rank, at, error_code)
select * from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::timestamptz[], $6::text[]) as n
order by 1
on conflict (own_key) do update
set provider_message_id = excluded.provider_message_id, status = excluded.status, rank = excluded.rank,
    at = excluded.at, error_code = excluded.error_code
where s.rank < excluded.rank
returning own_key
"""
_STATUSES = """
select provider_message_id, status, at from statuses where own_key = any($1::text[]) order by rank desc limit 1
"""
_RANK: dict[DeliveryStatus, int] = {"sent": 1, "failed": 2, "delivered": 3, "read": 4}


@dataclass(frozen=True)
class Told:
    """The best that the provider told about some attempts."""

    provider_message_id: str
    status: DeliveryStatus
    at: datetime


@dataclass(frozen=True)
class BeforeSending:
    """What `send` must know right before the call."""

    unwanted: str | None
    opted_out: bool
    paid: bool
    wording: Wording
    window_open: bool


def _best(events: Sequence[NotificationStatus], own_key: str) -> NotificationStatus:
    """Of several statuses of one attempt, the first of the highest."""
    return max((event for event in events if event.own_key == own_key), key=lambda event: _RANK[event.status])


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def locked(
        self, tx: Transaction, wanted: Mapping[ReservationId, OrganizationId]
    ) -> dict[ReservationId, Booking]:
        """The reservations' documents, made if they are new; their rows stay locked until the transaction ends."""
        rows = await tx.fetch(_LOCK, list(wanted), list(wanted.values()))
        return {row["reservation_id"]: Booking.model_validate(row["document"]) for row in rows}

    async def save(self, tx: Transaction, bookings: Mapping[ReservationId, Booking]) -> None:
        await tx.execute(_SAVE, list(bookings), [booking.model_dump_json() for booking in bookings.values()])

    async def configure(self, tx: Transaction, event: OrganizationConfigured) -> None:
        """The newest revision wins, whatever the order of arrival."""
        said = event.model_dump(mode="json")
        wordings, replies = json.dumps(said["wordings"]), json.dumps(said["replies"])
        quiet = None if event.quiet_hours is None else json.dumps(said["quiet_hours"])
        await tx.execute(_CONFIGURE, event.organization_id, event.revision, wordings, replies, quiet, event.time_zone)

    async def hear(self, tx: Transaction, event: GuestMessageReceived) -> tuple[list[Reply], Booking | None]:
        """The guest wrote: text may be sent for 24 hours. The organization's rules, and the guest's booking."""
        row = await tx.fetchrow(_HEAR, event.organization_id, event.phone, event.at, event.reservation_id)
        assert row is not None  # a row of sub-selects always exists
        booking = None if row["booking"] is None else Booking.model_validate(row["booking"])
        return [Reply.model_validate(reply) for reply in row["replies"] or []], booking

    async def opt(self, tx: Transaction, event: GuestMessageReceived, *, out: bool) -> None:
        """The guest wants no more of what is not urgent, or wants it again."""
        await tx.execute(_OPT, event.organization_id, event.phone, out)

    async def clean(self) -> None:
        """Statuses are needed as long as an attempt may be in doubt."""
        async with self._database.transaction() as tx:
            await tx.execute(_CLEAN)

    async def forget(self, organization_id: int) -> None:
        """What is left of synthetic reservations that have been through for a while."""
        async with self._database.transaction() as tx:
            await tx.execute(_FORGET, organization_id, await forget(tx, organization_id))

    async def note_statuses(self, tx: Transaction, events: Sequence[NotificationStatus]) -> list[NotificationStatus]:
        """The highest status of each attempt stays; returns those that are news.

        Those without a key of ours cannot be ours to doubt.
        """
        keys = dict.fromkeys(event.own_key for event in events if event.own_key is not None)
        best = {key: _best(events, key) for key in keys}
        found = best.values()
        rows = await tx.fetch(
            _NOTE_STATUS,
            list(best),
            [event.provider_message_id for event in found],
            [event.status for event in found],
            [_RANK[event.status] for event in found],
            [event.at for event in found],
            [event.error_code for event in found],
        )
        return [best[row["own_key"]] for row in rows]

    async def told(self, own_keys: Sequence[str]) -> Told | None:
        """What the provider told about any of these attempts; None: nothing yet."""
        row = await self._database.fetchrow(_STATUSES, own_keys)
        return None if row is None else Told(**dict(row))

    async def quiet_until(self, organization_id: int, now: datetime) -> datetime | None:
        """When the organization's quiet hours around `now` end, in its own zone; None: they are not now."""
        row = await self._database.fetchrow(_QUIET, organization_id)
        if row is None or row["quiet_hours"] is None:
            return None
        return ends(now, ZoneInfo(row["time_zone"]), QuietHours.model_validate(row["quiet_hours"]))

    async def before_sending(self, event: NotificationReady) -> BeforeSending:
        row = await self._database.fetchrow(
            _BEFORE_SENDING, event.reservation_id, event.organization_id, event.recipient
        )
        assert row is not None  # a row of sub-selects always exists
        booking = Booking.model_validate(row["booking"] or {})
        wording = (row["wordings"] or {}).get(event.kind, {}).get(event.language, {})
        return BeforeSending(
            unwanted=booking.unwanted(event),
            opted_out=row["opted_out"],
            paid=booking.paid,
            wording=Wording.model_validate(wording),
            window_open=row["window_open"],
        )

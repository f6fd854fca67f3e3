"""Statements of the reservations; every one names its organization."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from llegada.events.reservation import INVITATION
from llegada.events.types import Channel, Contact
from llegada.messaging import outbox
from llegada.messaging.transaction import Database, Transaction, containing
from reservation_api.organizations.schemas import StaySettings
from reservation_api.organizations.store import Organization
from reservation_api.problems import Conflict
from reservation_api.reservations.stay import Held, Outcome
from reservation_api.timeline.steps import Step, Steps, document, processing_status
from reservation_api.timeline.steps import shown as shown_steps

_COLUMNS = """
id, guest_name, guest_phone, guest_email, amount, currency, check_in_date, check_out_date, arrival_time, room_number,
language, status, processing_status, steps, payment_link, sent_message, sent_message_at, check_in_token, created_at,
updated_at, payment_status, door_codes, invited_at, checked_in_at, checked_out_at, cancelled_at, cancel_reason,
sire_registered_at, paid_amount
"""
_OPEN = """
with claimed as (
    insert into idempotency_keys (organization_id, key, request_hash)
    select $1, $2, $3 where $2::text is not null
    on conflict (organization_id, key) do nothing returning 1
)
select nextval(pg_get_serial_sequence('reservations', 'id')) as id, now() as now,
       $2::text is null or exists (select from claimed) as is_new,
       o.name, o.time_zone, o.language, o.channels
from (select) as one left join organizations o on o.organization_id = $1
"""
_STORE = f"""
with stored as (
    insert into reservations (organization_id, guest_name, guest_phone, guest_email, amount, currency, check_in_date,
                              check_out_date, arrival_time, room_number, language, guests, steps, check_in_token,
                              created_by, id)
    overriding system value
    values ($10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
), audited as (
    insert into audit_log (organization_id, actor, action, subject, request_id)
    values ($10, $24, 'reservation.create', 'reservation/' || $25, $26)
), answered as (
    update idempotency_keys set answer = $28 where organization_id = $10 and key = $27
)
insert into outbox ({outbox.COLUMNS}) {outbox.UNNEST} returning id
"""
_AUDIT = "insert into audit_log (organization_id, actor, action, subject, request_id) values ($1, $2, $3, $4, $5)"
_FILTER = """
organization_id = $1
and ($2::text is null or status = $2) and ($3::text is null or processing_status = $3)
and ($4::date is null or check_in_date >= $4) and ($5::date is null or check_in_date <= $5)
and ($6::text is null or guest_name ilike $6 or guest_phone ilike $6 or guest_email ilike $6)
"""
_LIST = f"select {_COLUMNS} from reservations where {_FILTER} order by id desc limit $7 offset $8"
_COUNT = f"select count(*) from reservations where {_FILTER}"
_ONE = f"select {_COLUMNS} from reservations where organization_id = $1 and id = $2"
_HELD = """
select r.*, o.name, o.time_zone, o.channels, o.stay
from reservations r join organizations o using (organization_id)
where r.organization_id = $1
"""
_HOLD = f"{_HELD} and r.id = $2 for update of r"
_HOLD_ARRIVING = f"""{_HELD}
and r.check_in_date = $2 and r.arrival_time >= $3 and r.status in ('confirmed', 'notification_sent')
and r.invited_at is null and not r.steps ? $4
order by r.id for update of r
"""
_CHANGE_STEPS = """
update reservations r set steps = n.steps, processing_status = n.processing_status, updated_at = now()
from unnest($1::bigint[], $2::jsonb[], $3::text[]) as n (id, steps, processing_status) where r.id = n.id
"""
_TAKE_KEY = """
insert into idempotency_keys (organization_id, key, request_hash) values ($1, $2, $3)
on conflict (organization_id, key) do nothing returning true
"""
_KEEP_ANSWER = "update idempotency_keys set answer = $3 where organization_id = $1 and key = $2"
_KEY = "select request_hash, answer from idempotency_keys where organization_id = $1 and key = $2"
KEPT_DAYS = 30
"""An answer that is given again under its Idempotency-Key; afterwards the key is a new one."""
_FORGET = f"""
delete from idempotency_keys where (organization_id, key) in (
    select organization_id, key from idempotency_keys where created_at < now() - interval '{KEPT_DAYS} days'
    order by created_at limit 1000 for update skip locked
)
"""


@dataclass(frozen=True)
class Opening:
    """What a request to create needs to know first: its number, the time, the organization; and whether it is new."""

    id: int
    now: datetime
    is_new: bool
    organization: Organization | None


@dataclass(frozen=True)
class NewRow:
    """A reservation about to be stored; dates and language are filled in."""

    organization_id: int
    guest_name: str
    guest_phone: str | None
    guest_email: str | None
    amount: int
    currency: str
    check_in_date: date
    check_out_date: date
    arrival_time: time | None
    room_number: str | None
    language: str
    guests: list[dict[str, Any]]
    steps: Steps
    check_in_token: str
    created_by: str
    id: int
    created_at: datetime

    def as_stored(self) -> dict[str, Any]:
        """What a later read gives; see the columns' defaults."""
        unchanged = (
            "payment_link",
            "sent_message",
            "sent_message_at",
            "door_codes",
            "invited_at",
            "checked_in_at",
            "checked_out_at",
            "cancelled_at",
            "cancel_reason",
            "sire_registered_at",
        )
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__ if name != "steps"},
            **dict.fromkeys(unchanged),
            "steps": {name: step.model_dump(mode="json", exclude_none=True) for name, step in self.steps.items()},
            "status": "confirmed",
            "processing_status": "pending",
            "payment_status": "pending",
            "paid_amount": 0,
            "updated_at": self.created_at,
        }


@dataclass(frozen=True)
class Filter:
    status: str | None = None
    processing_status: str | None = None
    arrival_from: date | None = None
    arrival_until: date | None = None
    text: str | None = None

    def arguments(self) -> tuple[Any, ...]:
        return self.status, self.processing_status, self.arrival_from, self.arrival_until, containing(self.text)


@dataclass(frozen=True)
class Earlier:
    """A request that came before with the same Idempotency-Key."""

    request_hash: bytes
    answer: dict[str, Any]


async def opening(tx: Transaction, organization_id: int, key: str | None, request_hash: bytes) -> Opening:
    """Take the Idempotency-Key for this transaction, if there is one, and a number for the reservation.

    A second request with the same key waits here until the first has ended.
    """
    row = await tx.fetchrow(_OPEN, organization_id, key, request_hash)
    assert row is not None  # the statement always has one row
    known = {name: row[name] for name in ("name", "time_zone", "language", "channels")}
    organization = None if row["name"] is None else Organization(**known, wordings={})
    return Opening(row["id"], row["now"], row["is_new"], organization)


async def earlier(tx: Transaction, organization_id: int, key: str) -> Earlier:
    """The request that used the key before. Raises Conflict where it was forgotten since the caller met it."""
    row = await tx.fetchrow(_KEY, organization_id, key)
    if row is None:
        raise Conflict(f"what this Idempotency-Key gave {KEPT_DAYS} days ago is forgotten; send the request again")
    return Earlier(row["request_hash"], row["answer"])


async def add(
    tx: Transaction,
    row: NewRow,
    message: outbox.OutboxMessage,
    held_until: datetime | None,
    key: str | None,
    answer: dict[str, Any],
) -> list[int]:
    """Reservation, audit log, answer under its key, and the event, in one statement; returns the outbox row's id."""
    rows = await tx.fetch(
        _STORE,
        *outbox.columns([message], [held_until]),
        row.organization_id,
        row.guest_name,
        row.guest_phone,
        row.guest_email,
        row.amount,
        row.currency,
        row.check_in_date,
        row.check_out_date,
        row.arrival_time,
        row.room_number,
        row.language,
        json.dumps(row.guests),
        document(row.steps),
        row.check_in_token,
        row.created_by,
        row.id,
        message.envelope.correlation_id,
        key,
        None if key is None else json.dumps(answer),
    )
    return [stored["id"] for stored in rows]


async def take_key(tx: Transaction, organization_id: int, key: str, request_hash: bytes) -> bool:
    """Take the Idempotency-Key for this transaction; False if another request had it. Waits for one under way."""
    return bool(await tx.fetchval(_TAKE_KEY, organization_id, key, request_hash))


async def forget_answers(database: Database) -> None:
    """A thousand of the oldest answers that nobody asks for any more: they hold guests' data."""
    async with database.transaction() as tx:
        await tx.execute(_FORGET)


async def keep_answer(tx: Transaction, organization_id: int, key: str, answer: dict[str, Any]) -> None:
    await tx.execute(_KEEP_ANSWER, organization_id, key, json.dumps(answer))


async def hold(tx: Transaction, organization_id: int, reservation_id: int, frontend_url: str) -> Held | None:
    """The reservation with its row locked until the transaction ends; None if there is none."""
    row = await tx.fetchrow(_HOLD, organization_id, reservation_id)
    return None if row is None else _held(row, frontend_url)


async def hold_arriving(
    tx: Transaction, organization_id: int, day: date, late_from: time, frontend_url: str
) -> list[Held]:
    """Those who arrive late on that day and were never invited, locked in the order of their ids."""
    rows = await tx.fetch(_HOLD_ARRIVING, organization_id, day, late_from, INVITATION)
    return [_held(row, frontend_url) for row in rows]


def _held(row: asyncpg.Record, frontend_url: str) -> Held:
    settings = StaySettings.model_validate(row["stay"])
    same = set(Held.__dataclass_fields__) & set(row.keys()) - {"door_codes", "steps", "channels"}
    return Held(
        **{name: row[name] for name in same},
        contact=Contact(phone=row["guest_phone"], email=row["guest_email"]),
        steps={name: Step.model_validate(step) for name, step in row["steps"].items()},
        check_in_url=check_in_link(frontend_url, row["id"], row["check_in_token"]),
        door_codes=row["door_codes"] or [],
        property_name=row["name"],
        zone=ZoneInfo(row["time_zone"]),
        channels=tuple(Channel(channel) for channel in row["channels"]),
        check_in_time=settings.check_in_time,
        check_out_time=settings.check_out_time,
        lock_rooms=tuple(tuple(lock.rooms) for lock in settings.locks),
        has_sire=settings.sire is not None,
        by_gateway=settings.sire is not None and settings.sire.channel == "gateway",
    )


async def change_steps(tx: Transaction, outcomes: Sequence[tuple[Held, Outcome]]) -> None:
    """Only the steps, of many at once."""
    after = [(held.id, outcome.steps_after(held.steps)) for held, outcome in outcomes]
    await tx.execute(
        _CHANGE_STEPS,
        [number for number, _ in after],
        [document(steps) for _, steps in after],
        [processing_status(steps) for _, steps in after],
    )


async def change(tx: Transaction, held: Held, outcome: Outcome) -> None:
    """Write the columns that change, and the steps."""
    steps = outcome.steps_after(held.steps)
    columns = {**outcome.changes, "steps": document(steps), "processing_status": processing_status(steps)}
    if "guests" in columns:
        columns["guests"] = json.dumps(columns["guests"])
    places = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, start=3))
    statement = f"update reservations set {places}, updated_at = now() where organization_id = $1 and id = $2"
    await tx.execute(statement, held.organization_id, held.id, *columns.values())


async def audit(tx: Transaction, organization_id: int, actor: str, action: str, subject: str, request_id: str) -> None:
    await tx.execute(_AUDIT, organization_id, actor, action, subject, request_id)


async def page(
    tx: Transaction, organization_id: int, wanted: Filter, number: int, size: int
) -> tuple[list[asyncpg.Record], int]:
    arguments = (organization_id, *wanted.arguments())
    total = await tx.fetchval(_COUNT, *arguments)
    return await tx.fetch(_LIST, *arguments, size, (number - 1) * size), total


async def one(tx: Transaction, organization_id: int, reservation_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(_ONE, organization_id, reservation_id)


def shown(row: Mapping[str, Any] | asyncpg.Record, frontend_url: str) -> dict[str, Any]:
    """A reservation as the API answers it."""
    steps = {name: Step.model_validate(step) for name, step in row["steps"].items()}
    return {
        "id": row["id"],
        "guestName": row["guest_name"],
        "guestPhone": row["guest_phone"],
        "guestEmail": row["guest_email"],
        "amount": row["amount"],
        "currency": row["currency"],
        "checkInDate": row["check_in_date"].isoformat(),
        "checkOutDate": row["check_out_date"].isoformat(),
        "arrivalTime": None if row["arrival_time"] is None else row["arrival_time"].isoformat("minutes"),
        "roomNumber": row["room_number"],
        "language": row["language"],
        "status": row["status"],
        "processingStatus": row["processing_status"],
        "steps": shown_steps(steps),
        "paymentLink": row["payment_link"],
        "checkInLink": check_in_link(frontend_url, row["id"], row["check_in_token"]),
        "sentMessage": row["sent_message"],
        "sentMessageAt": _iso(row["sent_message_at"]),
        "paymentStatus": row["payment_status"],
        "paidAmount": row["paid_amount"],
        "doorCodes": [
            {"lock": code["lock_name"], "code": code["code"], "from": code["starts_at"], "until": code["ends_at"]}
            for code in row["door_codes"] or []
        ],
        "invitationSentAt": _iso(row["invited_at"]),
        "checkedInAt": _iso(row["checked_in_at"]),
        "checkedOutAt": _iso(row["checked_out_at"]),
        "cancelledAt": _iso(row["cancelled_at"]),
        "cancelReason": row["cancel_reason"],
        "sireRegisteredAt": _iso(row["sire_registered_at"]),
        "createdAt": row["created_at"].isoformat(),
        "updatedAt": row["updated_at"].isoformat(),
    }


def check_in_link(frontend_url: str, reservation_id: int, token: str) -> str:
    """The token has 192 bits: nobody can guess another guest's."""
    return f"{frontend_url}/check-in/{reservation_id}-{token}"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()

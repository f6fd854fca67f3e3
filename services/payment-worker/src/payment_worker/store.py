"""Tables and statements of the schema payment_worker."""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

from llegada.events.payment import PaymentLinkCreated, PaymentWebhookReceived
from llegada.events.types import OrganizationId, ReservationId
from llegada.messaging.effects import forget
from llegada.messaging.transaction import Database, Transaction

OUR_REFERENCE = re.compile(r"^reservation-([0-9]{1,18})-payment-link-[0-9]+-[0-9]+-[0-9a-f]+$")
"""As the ledger makes references of attempts: the answer of an attempt may be lost, and its link paid all the same."""

_NOTE = """
insert into bookings as b (reservation_id, organization_id, asked, link_intent, ended)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::text[]) order by 1
on conflict (reservation_id) do update
set asked = coalesce(excluded.asked, b.asked), link_intent = greatest(b.link_intent, excluded.link_intent),
    ended = coalesce(b.ended, excluded.ended)
where b.organization_id = excluded.organization_id
"""
_NOTE_LINKS = """
insert into links (link_id, organization_id, reservation_id, reference, expires_at)
select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[]) order by 1
on conflict (link_id) do nothing
"""
_TO_ASK_ABOUT = """
update links set asked_at = now()
where link_id in (
    select link_id from links where not closed and asked_at < now() - $1::interval
    order by asked_at limit $2 for update skip locked
)
returning link_id, organization_id, reference
"""
_CLOSE = "update links set closed = true where link_id = $1"
_PAYMENT_KNOWN = """
select exists (select from links l join payments p on p.reservation_id = l.reservation_id
               where l.link_id = $1 and p.state in ('approved', 'voided'))
"""
_BEFORE_CALLING = """
select b.link_intent, b.ended, b.asked,
       (select coalesce(sum(total), 0)::bigint from payments p
        where p.reservation_id = b.reservation_id and p.state = 'approved') as paid
from bookings b where b.reservation_id = $1 and b.organization_id = $2
"""
_FORGET_LINKS = """
delete from links where organization_id = $1 and reservation_id = any($2::bigint[])
"""
_FORGET_BOOKINGS = "delete from bookings where organization_id = $1 and reservation_id = any($2::bigint[])"
_BY_LINK = "select reservation_id from links where link_id = $1 and organization_id = $2"
_ELSEWHERE = "select exists (select from bookings where reservation_id = $1 and organization_id <> $2)"
_LOCK = """
select reservation_id, asked, revision from bookings where reservation_id = $1 and organization_id = $2 for update
"""
_TAKE = """
insert into payments as p (organization_id, payment_id, reservation_id, state, rank, total, at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (organization_id, payment_id) do update
set state = excluded.state, rank = excluded.rank, total = excluded.total, at = excluded.at
where p.rank < excluded.rank
returning true
"""
_CHANGED = """
with changed as (
    update bookings set revision = revision + 1 where reservation_id = $1 returning revision
)
select (select revision from changed) as revision,
       coalesce(sum(total) filter (where state = 'approved'), 0)::bigint as paid,
       coalesce(bool_or(state = 'voided'), false) as voided
from payments where reservation_id = $1
"""
_STATES = {"SALE_REJECTED": ("rejected", 1), "SALE_APPROVED": ("approved", 2), "VOID_APPROVED": ("voided", 3)}


@dataclass(frozen=True)
class News:
    """What an event says about a booking; None and 0: nothing. `asked`: whole pesos."""

    organization_id: OrganizationId
    reservation_id: ReservationId
    asked: int | None = None
    link_intent: int = 0
    ended: str | None = None

    def and_then(self, later: "News") -> "News":
        return replace(
            self,
            asked=later.asked or self.asked,
            link_intent=max(self.link_intent, later.link_intent),
            ended=self.ended or later.ended,
        )


@dataclass(frozen=True)
class BeforeCalling:
    """What `create_link` must know right before the call; amounts in whole pesos."""

    link_intent: int = 0
    ended: str | None = None
    asked: int | None = None
    paid: int = 0


@dataclass(frozen=True)
class OpenLink:
    """A link that may have been paid without our hearing of it."""

    link_id: str
    organization_id: OrganizationId
    reference: str


@dataclass(frozen=True)
class Balance:
    """A reservation's payments after a change."""

    asked: int
    paid: int
    voided: bool
    revision: int


@dataclass(frozen=True)
class Booking:
    """A locked booking."""

    reservation_id: ReservationId
    asked: int


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, tx: Transaction, news: Sequence[News], links: Sequence[PaymentLinkCreated]) -> None:
        """Note what is newly known: intents only go up, an end stays. One entry of `news` per reservation."""
        await tx.execute(
            _NOTE,
            [n.reservation_id for n in news],
            [n.organization_id for n in news],
            [n.asked for n in news],
            [n.link_intent for n in news],
            [n.ended for n in news],
        )
        if links:
            await tx.execute(
                _NOTE_LINKS,
                [link.link_id for link in links],
                [link.organization_id for link in links],
                [link.reservation_id for link in links],
                [link.reference for link in links],
                [link.expires_at for link in links],
            )

    async def to_ask_about(self, every: timedelta, most: int) -> list[OpenLink]:
        """Links of which nobody has asked for a while; each is given to one replica."""
        async with self._database.transaction() as tx:
            return [OpenLink(**dict(row)) for row in await tx.fetch(_TO_ASK_ABOUT, every, most)]

    async def close(self, tx: Transaction, link: OpenLink) -> None:
        """Nothing more can happen to it."""
        await tx.execute(_CLOSE, link.link_id)

    async def payment_known(self, tx: Transaction, link: OpenLink) -> bool:
        """Whether a payment of its reservation has been recorded."""
        return bool(await tx.fetchval(_PAYMENT_KNOWN, link.link_id))

    async def forget(self, organization_id: int) -> None:
        """What is left of synthetic reservations that have been through for a while."""
        async with self._database.transaction() as tx:
            gone = await forget(tx, organization_id)
            await tx.execute(_FORGET_LINKS, organization_id, gone)
            await tx.execute(_FORGET_BOOKINGS, organization_id, gone)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self._database.transaction()

    async def before_calling(self, organization_id: OrganizationId, reservation_id: ReservationId) -> BeforeCalling:
        row = await self._database.fetchrow(_BEFORE_CALLING, reservation_id, organization_id)
        return BeforeCalling() if row is None else BeforeCalling(**dict(row))

    async def reservation_of(self, tx: Transaction, event: PaymentWebhookReceived) -> int | None:
        """Whose payment it is: by our own reference, or by the link's id; None: not of a link of ours."""
        if event.reference is None:
            return None
        ours = OUR_REFERENCE.match(event.reference)
        if ours is not None:
            return int(ours[1])
        found: int | None = await tx.fetchval(_BY_LINK, event.reference, event.organization_id)
        return found

    async def lock(self, tx: Transaction, organization_id: OrganizationId, reservation_id: int) -> Booking | None:
        """The booking, locked; None while nothing is known of it or of what was asked."""
        row = await tx.fetchrow(_LOCK, reservation_id, organization_id)
        return None if row is None or row["asked"] is None else Booking(row["reservation_id"], row["asked"])

    async def belongs_elsewhere(self, tx: Transaction, organization_id: OrganizationId, reservation_id: int) -> bool:
        """Whether another organization has this reservation: both may share a merchant at Bold."""
        return bool(await tx.fetchval(_ELSEWHERE, reservation_id, organization_id))

    async def take(self, tx: Transaction, event: PaymentWebhookReceived, booking: Booking) -> Balance | None:
        """Take in what happened to one payment; None if it was known already, or something later is."""
        if event.kind not in _STATES:
            return None
        state, rank = _STATES[event.kind]
        payment = event.organization_id, event.payment_id, booking.reservation_id
        if not await tx.fetchval(_TAKE, *payment, state, rank, event.total, event.at):
            return None
        row = await tx.fetchrow(_CHANGED, booking.reservation_id)
        assert row is not None  # an aggregate has one row
        return Balance(booking.asked, row["paid"], row["voided"], row["revision"])

"""A synthetic reservation every minute: it goes the way of a guest's, and its age tells whether that way is open.

It belongs to an organization of its own (`SYNTHETIC_ORGANIZATION`), which nobody's token should name, so it stands in
no list of staff. For that organization the workers answer in their providers' place (`pretended`); everything else is
the real thing: transaction, outbox, broker, ledger, projection. Replicas meet in the organization's row, which is
locked: one makes it, all of them see how old the newest is that came through.
"""

import time
from datetime import UTC, datetime, timedelta

from llegada.events.types import OrganizationId
from llegada.messaging import outbox
from llegada.messaging.envelope import Lane, first
from llegada.messaging.transaction import Database, Transaction
from llegada.runtime import metrics
from reservation_api.access import Staff
from reservation_api.reservations import store
from reservation_api.reservations.routes import made
from reservation_api.reservations.schemas import NewReservation

SOURCE = "reservation-api"
EVERY = timedelta(minutes=1)
MOST_OPEN = 10
"""While so many are on their way no more are made: an outage of a day leaves ten behind."""
_KEPT = "1 hour"
_NAME = "Llegada synthetic"

_SET_UP = """
insert into organizations (organization_id, name, time_zone, language, channels)
values ($1, $2, 'America/Bogota', 'es', '{whatsapp}') on conflict do nothing
"""
_LOCK = "select from organizations where organization_id = $1 for update"
_STATE = """
select max(created_at) as newest, max(created_at) filter (where processing_status = 'completed') as came_through,
       min(created_at) as oldest, count(*) filter (where processing_status <> 'completed') as open
from reservations where organization_id = $1
"""
_CLEAN = f"""
with gone as (
    delete from reservations
    where organization_id = $1 and processing_status = 'completed' and created_at < now() - interval '{_KEPT}'
    returning id
), audited as (
    delete from audit_log where organization_id = $1 and subject in (select 'reservation/' || id from gone)
)
delete from timeline where organization_id = $1 and reservation_id in (select id from gone)
"""


async def synthesize(database: Database, organization_id: int, frontend_url: str, now: datetime | None = None) -> bool:
    """Make the next one if it is due, take away what is old, and tell the age; whether one was made."""
    at = now or datetime.now(UTC)
    async with database.transaction() as tx:
        await tx.execute(_SET_UP, organization_id, _NAME)
        await tx.execute(_LOCK, organization_id)
        state = await tx.fetchrow(_STATE, organization_id)
        assert state is not None  # an aggregate has one row
        due = state["newest"] is None or at - state["newest"] >= EVERY
        if due and state["open"] < MOST_OPEN:
            await _make(tx, organization_id, frontend_url)
        await tx.execute(_CLEAN, organization_id)
    since = (state["came_through"] or state["oldest"] or at).timestamp()
    metrics.SYNTHETIC_AGE.labels(organization=organization_id).set_function(lambda: time.time() - since)
    return bool(due and state["open"] < MOST_OPEN)


async def _make(tx: Transaction, organization_id: int, frontend_url: str) -> None:
    """As a request would: same row, same event, same transaction."""
    wanted = NewReservation(guest_name="Synthetic", contact="+573000000000", amount=10_000)
    staff = Staff("synthetic", OrganizationId(organization_id), frozenset({"staff"}))
    opening = await store.opening(tx, organization_id, None, b"")
    row, event = made(wanted, staff, opening, frontend_url)
    envelope = first(
        event, source=SOURCE, correlation_id=f"synthetic-{row.id}", lane=Lane.INTERACTIVE, traceparent=None
    )
    await store.add(tx, row, outbox.event_message(event, envelope), None, None, {})

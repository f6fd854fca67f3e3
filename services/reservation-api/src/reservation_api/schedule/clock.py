"""J4: on the evening before, everybody who arrives late is invited; one event per reservation, exactly once a day.

The row of the day decides: whoever inserts it, in the same transaction as all events, has done the run. So any number
of replicas may look, at the same instant too, and a crash before the commit leaves nothing behind.
"""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import structlog
from pydantic import ValidationError

from llegada.messaging import outbox
from llegada.messaging.envelope import Lane, first
from llegada.messaging.transaction import Database, Transaction
from reservation_api.organizations.schemas import InvitationSettings
from reservation_api.problems import Problem
from reservation_api.reservations import store
from reservation_api.reservations.stay import Held, Outcome, invite
from reservation_api.schedule.due import run_due

SOURCE = "reservation-api"
log = structlog.get_logger()

_ORGANIZATIONS = """
select o.organization_id, o.time_zone, o.stay -> 'invitations' as invitations,
       (select max(day) from schedule_runs s where s.organization_id = o.organization_id) as last_day
from organizations o order by o.organization_id
"""
_BEGIN = """
insert into schedule_runs (organization_id, day) values ($1, $2) on conflict do nothing returning true
"""
_END = "update schedule_runs set invited = $3, left_out = $4 where organization_id = $1 and day = $2"


async def invite_late_arrivals(database: Database, frontend_url: str, now: datetime | None = None) -> int:
    """Do every organization's run that is due; returns how many invitations were ordered."""
    at = now or datetime.now(UTC)
    async with database.connection() as connection:
        organizations = await connection.fetch(_ORGANIZATIONS)
    ordered = 0
    for row in organizations:
        settings = InvitationSettings.model_validate(row["invitations"] or {})
        day = run_due(at, ZoneInfo(row["time_zone"]), settings)
        if day is not None and (row["last_day"] is None or row["last_day"] < day):
            async with database.transaction() as tx:
                ordered += await _run(tx, row["organization_id"], day, settings, frontend_url, at)
    return ordered


async def _run(
    tx: Transaction, organization_id: int, day: date, settings: InvitationSettings, frontend_url: str, now: datetime
) -> int:
    if not await tx.fetchval(_BEGIN, organization_id, day):
        return 0  # another replica was faster
    tomorrow = day + timedelta(days=1)
    arriving = await store.hold_arriving(tx, organization_id, tomorrow, settings.late_from, frontend_url)
    ready, left_out = _outcomes(arriving, now)
    correlation_id = f"invitations-{organization_id}-{day}-{uuid4().hex[:8]}"
    messages = [
        outbox.event_message(
            outcome.event,
            first(outcome.event, source=SOURCE, correlation_id=correlation_id, lane=Lane.BULK, traceparent=None),
        )
        for _, outcome in ready
        if outcome.event is not None
    ]
    await store.change_steps(tx, ready)
    await outbox.add(tx, messages)
    await tx.execute(_END, organization_id, day, len(ready), left_out)
    log.info("invitations_ordered", organization=organization_id, day=str(day), invited=len(ready), left_out=left_out)
    return len(ready)


def _outcomes(arriving: list[Held], now: datetime) -> tuple[list[tuple[Held, Outcome]], int]:
    """What is invited, and how many could not be: one bad reservation holds up no other."""
    ready, left_out = [], 0
    for held in arriving:
        try:
            ready.append((held, invite(held, None, now)))
        except (ValidationError, Problem) as error:
            left_out += 1
            # Without the error's text: it may hold what the guest entered.
            log.error("invitation_left_out", reservation=held.id, error=type(error).__name__)  # noqa: TRY400
    return ready, left_out

"""J8: on a person's day of the month the statement is ordered, exactly once, whatever number of replicas looks.

Each person has a transaction of its own: one whose data are bad holds up nobody else.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog
from pydantic import ValidationError

from llegada.messaging import outbox
from llegada.messaging.envelope import Lane, first
from llegada.messaging.transaction import Database
from reservation_api.documents import store as documents
from reservation_api.statements.order import hold, order
from reservation_api.statements.periods import Period, due

SOURCE = "reservation-api"
log = structlog.get_logger()
_PEOPLE = """
select u.id, u.organization_id, coalesce((u.billing ->> 'day')::integer, 25) as day, o.time_zone,
       (select max(month) from statement_runs r where r.organization_id = u.organization_id and r.user_id = u.id)
           as last_month
from users u join organizations o using (organization_id)
where (u.billing ->> 'enabled')::boolean order by u.organization_id, u.id
"""


async def order_statements(database: Database, now: datetime | None = None) -> int:
    """Order what is due; returns how many statements were ordered."""
    at = now or datetime.now(UTC)
    async with database.connection() as connection:
        people = await connection.fetch(_PEOPLE)
    ordered = 0
    for row in people:
        zone = ZoneInfo(row["time_zone"])
        period = due(at, zone, row["day"])
        if period is None or (row["last_month"] is not None and row["last_month"] >= period.month):
            continue
        try:
            ordered += await _order(database, row["organization_id"], row["id"], period, at.astimezone(zone))
        except ValidationError as error:
            # Without the error's text: it may hold names.
            log.error("statement_left_out", user=row["id"], error=type(error).__name__)  # noqa: TRY400
    return ordered


async def _order(database: Database, organization_id: int, user_id: int, period: Period, local: datetime) -> int:
    async with database.transaction() as tx:
        person = await hold(tx, organization_id, user_id)
        if person is None:
            return 0
        ordered = await order(tx, person, period, local.date(), "clock", by_hand=False)
        log.info("statement_run", user=user_id, month=str(period.month), outcome=ordered.outcome)
        if ordered.event is None:
            return 0
        correlation = f"statement-{organization_id}-{ordered.event.number}"
        envelope = first(ordered.event, source=SOURCE, correlation_id=correlation, lane=Lane.BULK, traceparent=None)
        key = str(ordered.event.edition)
        await documents.order(tx, organization_id, ordered.event.subject, key, "statement", envelope.id)
        await outbox.add(tx, [outbox.event_message(ordered.event, envelope)])
    return 1

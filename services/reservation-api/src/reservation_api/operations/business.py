"""What the owner asks: how many bookings, how many of them paid; and what the authority is still owed."""

from llegada.messaging.transaction import Database
from reservation_api.operations import metrics

_RECENT = """
with before as (
    select id from reservations where created_at < now() - interval '7 days' order by id desc limit 1
)
select status, payment_status, count(*) as count, sum(paid_amount)::bigint as paid
from reservations where id > coalesce((select id from before), 0) and organization_id is distinct from $1 group by 1, 2
"""
_SIRE = """
select state, count(*) as count, min(due_at) as due_at from sire_rows
where state not in ('accepted', 'superseded') group by 1
"""
_SIRE_STATES = ("waiting", "in_file", "rejected", "uncertain")


async def measure(database: Database, synthetic: int | None = None) -> None:
    """Set the gauges; any number of replicas set the same. `synthetic`: the organization that is no house."""
    async with database.connection() as connection:
        recent = await connection.fetch(_RECENT, synthetic)
        sire = await connection.fetch(_SIRE)
    metrics.RECENT_RESERVATIONS.clear()
    for row in recent:
        metrics.RECENT_RESERVATIONS.labels(row["status"], row["payment_status"]).set(row["count"])
    metrics.RECENT_PAID_PESOS.set(sum(row["paid"] for row in recent))
    counts = {row["state"]: row["count"] for row in sire}
    for state in _SIRE_STATES:
        metrics.SIRE_ROWS.labels(state=state).set(counts.get(state, 0))
    metrics.SIRE_DEADLINE.set(min((row["due_at"].timestamp() for row in sire), default=float("inf")))

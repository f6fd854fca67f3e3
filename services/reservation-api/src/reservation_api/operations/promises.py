"""Measures the promise that guests feel: the message within two minutes of the booking, while the providers are up.

Each booking is judged once, when it is two minutes old, from what is stored: so a message that never leaves counts too.
Every process judges from its own start on; with several replicas the ratio is right, and a sum is not.
"""

from datetime import UTC, datetime, timedelta

import asyncpg

from llegada.messaging.failures import OURS
from llegada.messaging.transaction import Database
from reservation_api.operations import metrics

PROMISE = timedelta(seconds=120)
_MOST = 5000
_START = "select coalesce((select id from reservations where created_at <= $1 order by id desc limit 1), 0)"
_JUDGE = f"""
select r.id, r.created_at,
       (select min(happened_at) from timeline t
        where t.reservation_id = r.id and t.type = 'notification.sent') as sent_at,
       coalesce(r.steps -> 'confirmation' -> 'fact' ->> 'state', '') = 'skipped' or exists (
           select from timeline t
           where t.reservation_id = r.id and t.type in ('job.retrying', 'job.failed')
             and t.summary ->> 'errorClass' in ('transient', 'rate_limited', 'provider_down', 'outcome_unknown')
             and t.summary ->> 'reason' not like '{OURS}%'
       ) as excused
from reservations r where r.id > $1 order by r.id limit $2
"""
"""Nothing in here excuses what we did ourselves, whatever class it has."""


class Promises:
    """Remembers up to which reservation this process has judged."""

    def __init__(self) -> None:
        self._judged: int | None = None
        for outcome in ("in_time", "late", "excused"):
            metrics.BOOKING_MESSAGES.labels(outcome=outcome)

    async def judge(self, database: Database, now: datetime | None = None) -> None:
        """Count the bookings that have become two minutes old since the last time."""
        due = (now or datetime.now(UTC)) - PROMISE
        async with database.connection() as connection:
            if self._judged is None:
                self._judged = await connection.fetchval(_START, due)
            rows = await connection.fetch(_JUDGE, self._judged, _MOST)
        for row in rows:
            if row["created_at"] > due:
                return
            self._judged = row["id"]
            _count(row)


def _count(row: asyncpg.Record) -> None:
    seconds = ((row["sent_at"] or row["created_at"] + PROMISE) - row["created_at"]).total_seconds()
    in_time = row["sent_at"] is not None and seconds <= PROMISE.total_seconds()
    outcome = "in_time" if in_time else "excused" if row["excused"] else "late"
    metrics.BOOKING_MESSAGES.labels(outcome=outcome).inc()
    if outcome != "excused":
        metrics.BOOKING_MESSAGE_SECONDS.observe(max(seconds, 0.0) if in_time else PROMISE.total_seconds() + 1)

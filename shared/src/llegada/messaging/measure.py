"""What the active relay measures for its service with each heartbeat: nothing on the path of a message pays for it."""

from llegada.messaging import metrics
from llegada.messaging.transaction import Transaction

_LAG = """
select (select count(*) from (select from outbox limit 100000) as bounded) as rows,
       coalesce(extract(epoch from now() - (select created_at from outbox order by id limit 1)), 0)::float as oldest
"""
_CIRCUITS = """
select split_part(key, '/', 1) as provider, count(*) filter (where open_until is not null) as open
from breakers group by 1
"""


class Measures:
    """Of one service: its outbox and its breakers."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._providers: set[str] = set()
        metrics.OUTBOX_UNROUTABLE.labels(service=service)  # 0 until it happens: the first time is a rise then

    async def take(self, connection: Transaction) -> None:
        row = await connection.fetchrow(_LAG)
        assert row is not None  # an aggregate always has one row
        metrics.OUTBOX_ROWS.labels(service=self._service).set(row["rows"])
        metrics.OUTBOX_OLDEST_SECONDS.labels(service=self._service).set(row["oldest"])
        open_now = {row["provider"]: row["open"] for row in await connection.fetch(_CIRCUITS)}
        self._providers |= set(open_now)
        for provider in self._providers:
            metrics.CIRCUITS_OPEN.labels(service=self._service, provider=provider).set(open_now.get(provider, 0))

    def forget(self) -> None:
        """Another process is the active relay now: what was measured here would contradict it for ever."""
        for gauge in (metrics.OUTBOX_ROWS, metrics.OUTBOX_OLDEST_SECONDS, metrics.CIRCUITS_OPEN):
            gauge.remove_by_labels({"service": self._service})

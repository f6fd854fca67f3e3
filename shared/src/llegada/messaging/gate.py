"""The way to a provider: rate limits and circuit breaker, shared by all replicas of a service.

A limit reserves a slot: the time at which this delivery may call. Waits of up to a second are slept; longer ones go to
the longest rung that is not longer than the wait, and come back to their slot, without using up an attempt. So the
messages of one account that wait hold up nobody else's. Limits are asked one after the other: a slot under the next one
is taken only when the one before is due.

The breaker of an account opens after FAILURES calls in a row of which none was answered properly. While it is open
deliveries wait, again without attempts; then one probe goes through, and what becomes of it closes or opens it again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from llegada.messaging import metrics
from llegada.messaging.envelope import Lane
from llegada.messaging.failures import ProviderDown, SlotLater
from llegada.messaging.transaction import Database

log = structlog.get_logger()

FAILURES = 5
OPEN_FIRST, OPEN_LAST = 30, 300
"""Seconds that a breaker stays open: doubled with each probe that fails, up to the last."""
SLEPT = timedelta(seconds=1)
BULK_SHARE = 0.8
"""Of each limit, what bulk work may use; the rest is left to those for whom a person waits."""

_ENTER = "select wait, cause, failures from enter($1, $2, $3, $4::text[], $5::interval[], $6::interval[])"
_FAILED = f"""
insert into breakers as b (key, failures) values ($1, 1)
on conflict (key) do update
set failures = b.failures + 1,
    trips = case when b.failures + 1 >= {FAILURES} and coalesce(b.open_until <= now(), true) then b.trips + 1
                 else b.trips end,
    open_until = case when b.failures + 1 >= {FAILURES} and coalesce(b.open_until <= now(), true)
                      then now() + least({OPEN_FIRST} * 2 ^ b.trips, {OPEN_LAST}) * interval '1 second'
                      else b.open_until end,
    probe_until = null
returning open_until > now() as is_open
"""
_WORKED = """
update breakers set failures = 0, trips = 0, open_until = null, probe_until = null where key = $1 and failures > 0
"""
_LEAVE = "update breakers set probe_until = null where key = $1 and probe_until is not null"
CLEAN = """
with old_slots as (delete from slots where at < now() - interval '1 day')
delete from rate_limits where free_at < now() - interval '1 day'
"""
"""Limits are kept per recipient too: what nobody has used for a day goes."""


@dataclass(frozen=True)
class Limit:
    """So many calls a second, evenly spaced, over all replicas; after a quiet time `burst` of them at once.

    `key` names what the provider counts. The generic cell rate algorithm (ITU-T I.371).
    """

    key: str
    per_second: float
    burst: int = 1

    @property
    def gap(self) -> timedelta:
        return timedelta(seconds=1 / self.per_second)

    @property
    def ahead(self) -> timedelta:
        return self.gap * (self.burst - 1)

    @property
    def for_bulk(self) -> "Limit":
        return Limit(f"{self.key}/bulk", self.per_second * BULK_SHARE, max(1, int(self.burst * BULK_SHARE)))


@dataclass(frozen=True)
class Way:
    """The provider's account that a call goes through. `limits`: the narrowest first (recipient, then account)."""

    provider: str
    account: str
    limits: Sequence[Limit] = ()

    @property
    def key(self) -> str:
        return f"{self.provider}/{self.account}"

    def limits_of(self, lane: Lane) -> list[Limit]:
        """Bulk work passes a narrower limit of its own before each."""
        if lane is Lane.INTERACTIVE:
            return list(self.limits)
        return [both for one in self.limits for both in (one.for_bulk, one)]


class Gate:
    """Of one service, in its database."""

    def __init__(self, service: str, database: Database) -> None:
        self._service = service
        self._database = database

    async def enter(self, subscriber: str, message_id: UUID, way: Way, lane: Lane) -> bool:
        """Return when the call may be made; True if the breaker has counted failures before.

        Raises SlotLater for a longer wait, ProviderDown while the breaker is open.
        """
        limits = way.limits_of(lane)
        columns = [limit.key for limit in limits], [limit.gap for limit in limits], [limit.ahead for limit in limits]
        while True:
            row = await self._database.fetchrow(_ENTER, subscriber, message_id, way.key, *columns)
            assert row is not None  # a function with out parameters has one row
            if row["cause"] is None:
                return bool(row["failures"])
            if row["cause"] == "open":
                raise ProviderDown(f"{way.provider} does not answer at the moment", retry_after=row["wait"])
            waits = metrics.RATE_LIMIT_WAIT_SECONDS.labels(service=self._service, provider=way.provider)
            waits.observe(row["wait"].total_seconds())
            if row["wait"] > SLEPT:
                raise SlotLater(f"{way.provider} takes only so many calls a second", retry_after=row["wait"])
            await asyncio.sleep(row["wait"].total_seconds())

    async def failed(self, way: Way) -> None:
        """The call was not answered properly."""
        row = await self._database.fetchrow(_FAILED, way.key)
        if row is not None and row["is_open"]:
            metrics.CIRCUIT_OPENED.labels(service=self._service, provider=way.provider).inc()
            log.warning("circuit_open", provider=way.provider, account=way.account)

    async def leave(self, way: Way) -> None:
        """Give back the probe: a delivery that passed the gate while the breaker counted failures has ended, perhaps
        without any call. Until then nobody else may try."""
        await self._database.fetchrow(_LEAVE, way.key)

    async def worked(self, way: Way) -> None:
        """The provider answered, whatever it said: close the breaker."""
        await self._database.fetchrow(_WORKED, way.key)

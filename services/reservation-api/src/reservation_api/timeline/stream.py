"""New timeline entries as they become visible, for any number of listeners, from any replica.

A listener has a place: transaction and id of the last entry that it saw, which is the event's id too, so a client that
comes back goes on where it was. Entries are read up to the oldest transaction that is still running: what commits late
comes late, and is never skipped. One look at the table per process and interval tells whose listeners to wake.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import asyncpg
import structlog

from llegada.messaging.transaction import Database, database_away
from reservation_api.parts import Parts

log = structlog.get_logger()
INTERVAL = 0.25
"""Seconds between looks, while anybody listens."""
_PAGE = 500

_HERE = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xid, 0::bigint as id"
_WHOSE = """
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as xid,
       array(select distinct organization_id from timeline where xid >= $1::bigint::text::xid8
             and xid < pg_snapshot_xmin(pg_current_snapshot())) as organizations
"""
"""Where the next look begins, and whose entries became visible: of one snapshot, so that each is seen by one look."""
_AFTER = """
select t.xid::text::bigint as xid, t.id, t.reservation_id, t.type, t.source, t.happened_at, t.summary,
       r.status, r.processing_status
from timeline t left join reservations r on r.id = t.reservation_id and r.organization_id = t.organization_id
where t.organization_id = $1 and ($2::bigint is null or t.reservation_id = $2)
  and (t.xid, t.id) > ($3::bigint::text::xid8, $4::bigint)
  and t.xid < pg_snapshot_xmin(pg_current_snapshot())
order by t.xid, t.id limit $5
"""


class Place(NamedTuple):
    """`xid-id`, as in `Last-Event-ID`."""

    xid: int
    id: int

    @classmethod
    def read(cls, text: str | None) -> "Place | None":
        """None for anything that is no place: the client then begins at what is new."""
        xid, _, number = (text or "").partition("-")
        known = xid.isdigit() and number.isdigit() and max(len(xid), len(number)) < 19  # noqa: PLR2004 - a bigint
        return cls(int(xid), int(number)) if known else None

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"


class Stream:
    """Of one process. `database`: the system role, to look for whose entries are new; listeners read as themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listening: Counter[int] = Counter()
        self._news = asyncio.Condition()
        self._changes: Counter[int] = Counter()
        self._looking: asyncio.Task[None] | None = None

    async def entries(
        self, part: Parts, organization_id: int, reservation_id: int | None, place: Place | None
    ) -> AsyncGenerator[tuple[Place, dict[str, Any]]]:
        """Each entry after `place` (None: from now on) with its own place, until the process stops."""
        stopping = part.resources.stopping
        self._listening[organization_id] += 1
        try:
            here = await self._here()
            at = place or here
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(here.xid, stopping))
            while not stopping.is_set():
                seen = self._changes[organization_id]
                async with part.transaction(organization_id) as tx:
                    rows = await tx.fetch(_AFTER, organization_id, reservation_id, at.xid, at.id, _PAGE)
                for row in rows:
                    at = Place(row["xid"], row["id"])
                    yield at, _shown(row)
                if len(rows) < _PAGE:
                    await self._wait(organization_id, seen, stopping)
        finally:
            self._listening[organization_id] -= 1

    async def _wait(self, organization_id: int, seen: int, stopping: asyncio.Event) -> None:
        """Until there is something that was not there when `seen` was read."""
        async with self._news:
            await self._news.wait_for(lambda: self._changes[organization_id] != seen or stopping.is_set())

    async def _look(self, xid: int, stopping: asyncio.Event) -> None:
        """Wake listeners of what became visible since `xid`, while there are any; one query for all of them."""
        while self._listening.total() and not stopping.is_set():
            try:
                xid = await self._changed_since(xid)
            except Exception as error:
                if database_away(error):
                    log.warning("database_away", error=type(error).__name__)
                else:
                    log.exception("stream_not_read")
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(INTERVAL)
        async with self._news:
            self._news.notify_all()

    async def _changed_since(self, xid: int) -> int:
        """Count a change for everybody whose entries became visible; returns where the next look begins."""
        row = await self._database.fetchrow(_WHOSE, xid)
        assert row is not None  # the statement always has one row
        self._changes.update(row["organizations"])
        following: int = row["xid"]
        return following

    async def _here(self) -> Place:
        row = await self._database.fetchrow(_HERE)
        assert row is not None  # a function call has one row
        return Place(row["xid"], row["id"])


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "reservationId": row["reservation_id"],
        "type": row["type"],
        "source": row["source"],
        "at": row["happened_at"].isoformat(),
        "summary": row["summary"],
        "status": row["status"],
        "processingStatus": row["processing_status"],
    }

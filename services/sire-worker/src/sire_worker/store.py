"""Tables and statements of the schema sire_worker."""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llegada.events.organization import OrganizationConfigured, SireSettings
from llegada.events.sire import FilingRow, SireResultRecorded
from llegada.messaging.transaction import Database, Transaction

_CONFIGURE = """
insert into organizations as o (organization_id, revision, time_zone, sire) values ($1, $2, $3, $4)
on conflict (organization_id) do update
set revision = excluded.revision, time_zone = excluded.time_zone, sire = excluded.sire
where o.revision < excluded.revision
"""
_FILE = """
insert into filings as f (organization_id, key, reservation_id, movement, intent, line, due_at)
select $1, n.key, $2, $3, $4, n.line, $5 from unnest($6::text[], $7::text[]) as n (key, line) order by n.key
on conflict (organization_id, key) do update
set reservation_id = excluded.reservation_id, intent = excluded.intent, line = excluded.line,
    state = case when f.state = 'rejected' then 'waiting' else f.state end
returning key, state
"""
_RECORD = """
update filings set state = $2, reason = $3, filed_at = case when $2 = 'accepted' then now() else filed_at end
where organization_id = $1 and key = any($4::text[])
returning intent
"""
_OPEN = """
select count(*) from filings
where organization_id = $1 and reservation_id = $2 and movement = $3 and intent = $4 and state <> 'accepted'
"""
_ROWS = """
select key, line, state from filings
where organization_id = $1 and reservation_id = $2 and movement = $3 and intent = $4
  and not exists (select from movements m where m.organization_id = $1 and m.reservation_id = $2 and m.movement = $3
                  and m.intent > $4 and not m.blocked)
order by key
"""
_MARK = """
update filings f set state = n.state, reason = n.reason,
    filed_at = case when n.state = 'accepted' then now() else f.filed_at end
from unnest($2::text[], $3::text[], $4::text[]) as n (key, state, reason)
where f.organization_id = $1 and f.key = n.key and f.state <> 'accepted'
"""
_RECORD_ALL = """
update filings set state = $2, reason = $3, filed_at = case when $2 = 'accepted' then now() else filed_at end
where organization_id = $1 and reservation_id = $4 and movement = $5 and state <> 'accepted'
returning intent
"""
_BEGIN = """
insert into movements as m (organization_id, reservation_id, movement, intent, due_at, blocked)
values ($1, $2, $3, $4, $5, $6)
on conflict (organization_id, reservation_id, movement) do update
set intent = greatest(m.intent, excluded.intent), due_at = least(m.due_at, excluded.due_at),
    blocked = case when excluded.intent >= m.intent then excluded.blocked else m.blocked end
returning due_at
"""
_ESCALATE = """
update movements m set escalated = true
where due_at < now() and not escalated
  and (blocked or exists (
      select from filings f
      where f.organization_id = m.organization_id and f.reservation_id = m.reservation_id
        and f.movement = m.movement and f.intent = m.intent and f.state <> 'accepted'))
returning organization_id, reservation_id, movement, intent, due_at
"""


@dataclass(frozen=True)
class Registered:
    """An organization that reports to SIRE."""

    settings: SireSettings
    time_zone: str


@dataclass(frozen=True)
class Filing:
    """A row of the archive. `state`: waiting, accepted, rejected, uncertain."""

    key: str
    line: str
    state: str


Mark = tuple[str, str, str | None]
"""Key, state, reason."""


@dataclass(frozen=True)
class Recorded:
    """`intent`: the newest that wants these rows; `complete`: the authority has every row of it."""

    intent: int
    rows: int
    complete: bool


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def configure(self, tx: Transaction, event: OrganizationConfigured) -> None:
        """The newest revision wins, whatever the order of arrival."""
        settings = None if event.sire is None else json.dumps(event.sire.model_dump(mode="json"))
        await tx.execute(_CONFIGURE, event.organization_id, event.revision, event.time_zone, settings)

    async def property(self, tx: Transaction, organization_id: int) -> Registered | None:
        row = await tx.fetchrow("select sire, time_zone from organizations where organization_id = $1", organization_id)
        if row is None or row["sire"] is None:
            return None
        return Registered(SireSettings.model_validate(row["sire"]), row["time_zone"])

    async def begin(self, tx: Transaction, known: tuple[Any, ...], due_at: datetime, *, blocked: bool) -> datetime:
        """Start the movement's clock; returns when it is due. Whoever asks again does not put it off.

        `known`: organization, reservation, movement, intent. `blocked`: its documents cannot be filed as they are.
        """
        due: datetime = await tx.fetchval(_BEGIN, *known, due_at, blocked)
        return due

    async def file(
        self, tx: Transaction, known: tuple[Any, ...], due_at: datetime, rows: Sequence[FilingRow]
    ) -> set[str]:
        """Archive rows, each once for ever; returns the keys of those that the authority does not have yet.

        `known`: organization, reservation, movement, intent. A row that was rejected is filed again.
        """
        found = await tx.fetch(_FILE, *known, due_at, [row.key for row in rows], [row.line for row in rows])
        return {row["key"] for row in found if row["state"] != "accepted"}

    async def record(self, tx: Transaction, event: SireResultRecorded) -> Recorded:
        """What became of rows of a file; they may have been asked for again since the file was closed."""
        said = event.organization_id, event.result, event.reason
        if event.keys:
            rows = await tx.fetch(_RECORD, *said, list(event.keys))
        else:
            rows = await tx.fetch(_RECORD_ALL, *said, event.reservation_id, event.movement)
        intent: int = max((row["intent"] for row in rows), default=event.intent)
        still_open = await tx.fetchval(_OPEN, event.organization_id, event.reservation_id, event.movement, intent)
        return Recorded(intent, len(rows), bool(rows) and still_open == 0)

    async def rows(self, organization_id: int, reservation_id: int, movement: str, intent: int) -> list[Filing]:
        """What this wish has to report; empty once a newer one wants the same."""
        async with self._database.connection() as connection:
            found = await connection.fetch(_ROWS, organization_id, reservation_id, movement, intent)
        return [Filing(**dict(row)) for row in found]

    async def mark(self, organization_id: int, marks: Sequence[Mark]) -> None:
        """What became of rows, committed at once; what the authority has, it keeps."""
        if marks:
            columns = list(map(list, zip(*marks, strict=True)))
            async with self._database.transaction() as tx:
                await tx.execute(_MARK, organization_id, *columns)

    async def escalate(self, tx: Transaction) -> list[dict[str, Any]]:
        """Movements that are overdue, each told once."""
        return [dict(row) for row in await tx.fetch(_ESCALATE)]

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self._database.transaction()

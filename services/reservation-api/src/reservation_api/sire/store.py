"""Rows that wait for the portal of SIRE, the files made of them, and what the portal said."""

from collections.abc import Mapping, Sequence
from datetime import date

import asyncpg

from llegada.events.event import Event
from llegada.events.job import JobSkipped
from llegada.events.sire import MOVEMENT_OF, STEP_OF, Movement, SireFilingPrepared
from llegada.messaging.transaction import Transaction
from reservation_api import pages
from reservation_api.timeline.steps import Steps

_TAKE = """
insert into sire_rows as r (organization_id, key, reservation_id, movement, intent, moved_on, line, due_at)
select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::integer[], $6::date[], $7::text[],
                     $8::timestamptz[])
on conflict (organization_id, key) do update
set reservation_id = excluded.reservation_id, intent = excluded.intent, line = excluded.line, state = 'waiting',
    reason = null, file_number = null
where r.state in ('waiting', 'rejected', 'superseded') and r.intent <= excluded.intent
"""
_SUPERSEDE = """
update sire_rows r set state = 'superseded'
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[]) as n (organization, reservation, movement, answered)
where r.organization_id = n.organization and r.reservation_id = n.reservation and r.movement = n.movement
  and r.state in ('waiting', 'rejected')
  and r.intent < greatest(n.answered, (select max(x.intent) from sire_rows x where x.organization_id = n.organization
                                       and x.reservation_id = n.reservation and x.movement = n.movement))
"""
"""Of a person as an older wish knew him: a corrected document has another key, and its row nothing would replace. The
newest wish may have no row at all: its guests are Colombian."""
_LIST = """
select reservation_id, movement, moved_on, due_at, state, reason, file_number,
       due_at < now() and state not in ('accepted', 'superseded') as overdue, count(*) over () as total
from sire_rows where organization_id = $1 and ($2::text is null or state = $2) and ($3::date is null or moved_on = $3)
order by due_at, id limit $4 offset $5
"""
_LOCK_ORGANIZATION = "select from organizations where organization_id = $1 for update"
_OPEN_FILE = """
insert into sire_files (organization_id, number, day, created_by)
select $1, coalesce(max(number), 0) + 1, $2, $3 from sire_files where organization_id = $1
returning number
"""
_FILL = """
update sire_rows set state = 'in_file', file_number = $3
where organization_id = $1 and moved_on = $2 and state = 'waiting' returning id
"""
_FILES = """
select f.number, f.day, f.created_by, f.created_at, f.result, f.recorded_at,
       (select count(*) from sire_rows r where r.organization_id = f.organization_id and r.file_number = f.number)
           as rows,
       count(*) over () as total
from sire_files f where f.organization_id = $1 order by f.number desc limit $2 offset $3
"""
_LINES = """
select line, key, reservation_id, movement, intent, state from sire_rows
where organization_id = $1 and file_number = $2 order by id
"""
_RESULT = """
update sire_files set result = $3, recorded_at = now()
where organization_id = $1 and number = $2 and (result is null or result = 'uncertain') returning true
"""
_MARK = """
update sire_rows r set state = n.state, reason = n.reason
from unnest($3::text[], $4::text[], $5::text[]) as n (key, state, reason)
where r.organization_id = $1 and r.file_number = $2 and r.key = n.key
"""


async def take(tx: Transaction, events: Sequence[Event], steps: Mapping[tuple[int, int], Steps]) -> None:
    """Rows that the worker prepared; one that is in a file already stays there, a newer wish replaces older ones.

    `steps`: of each reservation, by organization and id.
    """
    prepared = [event for event in events if isinstance(event, SireFilingPrepared)]
    rows = [(event, row) for event in prepared for row in event.rows]
    if rows:
        await tx.execute(
            _TAKE,
            [event.organization_id for event, _ in rows],
            [row.key for _, row in rows],
            [event.reservation_id for event, _ in rows],
            [event.movement for event, _ in rows],
            [event.intent for event, _ in rows],
            [event.moved_on for event, _ in rows],
            [row.line for _, row in rows],
            [event.due_at for event, _ in rows],
        )
    moved = {(e.organization_id, e.reservation_id, e.movement) for e in prepared} | {
        (e.organization_id, e.reservation_id, movement)
        for e in events
        if isinstance(e, JobSkipped) and e.reservation_id and (movement := MOVEMENT_OF.get(e.step_name))
    }
    if moved:
        answered = [(*movement, _answered(steps.get(movement[:2], {}), movement[2])) for movement in sorted(moved)]
        await tx.execute(_SUPERSEDE, *map(list, zip(*answered, strict=True)))


def _answered(steps: Steps, movement: Movement) -> int:
    """The newest wish, if the worker has done with it; 0 while it is under way, or blocked by its documents."""
    step = steps.get(STEP_OF[movement])
    return step.intent if step is not None and step.fact is not None else 0


async def page(
    tx: Transaction, organization_id: int, state: str | None, day: date | None, number: int, size: int
) -> tuple[list[asyncpg.Record], int]:
    """What is due first comes first; and how many there are."""
    return await pages.page(tx, _LIST, organization_id, state, day, number=number, size=size)


async def close_file(tx: Transaction, organization_id: int, day: date, actor: str) -> tuple[int, int]:
    """Number of a new file of the day's waiting rows, and how many they are; what comes later goes into the next."""
    await tx.execute(_LOCK_ORGANIZATION, organization_id)
    number: int = await tx.fetchval(_OPEN_FILE, organization_id, day, actor)
    return number, len(await tx.fetch(_FILL, organization_id, day, number))


async def files(tx: Transaction, organization_id: int, number: int, size: int) -> tuple[list[asyncpg.Record], int]:
    return await pages.page(tx, _FILES, organization_id, number=number, size=size)


async def lines(tx: Transaction, organization_id: int, number: int) -> list[asyncpg.Record]:
    """A file's rows in its order; empty if there is no such file."""
    return await tx.fetch(_LINES, organization_id, number)


async def record(
    tx: Transaction, organization_id: int, number: int, result: str, marks: Sequence[tuple[str, str, str | None]]
) -> bool:
    """Store what the portal said; False if it was recorded before. `marks`: key, state, reason."""
    if not await tx.fetchval(_RESULT, organization_id, number, result):
        return False
    await tx.execute(_MARK, organization_id, number, *map(list, zip(*marks, strict=True)))
    return True

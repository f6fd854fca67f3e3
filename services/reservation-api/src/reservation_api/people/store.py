"""People and their life cycles."""

import json
from collections.abc import Sequence
from datetime import date

import asyncpg

from llegada.events.person import Employment, LifecycleChanged, LifecycleCreated
from llegada.messaging.envelope import Envelope
from llegada.messaging.transaction import Transaction
from reservation_api import pages

_COLUMNS = "id, number, name, email, person, language, employment, active, leaves_on, created_by, created_at"
_LOCK_ORGANIZATION = "select name, time_zone from organizations where organization_id = $1 for update"
_TAKEN = "select email, person from users where organization_id = $1 and (email = $2 or person = $3)"
_ADD = f"""
insert into users (organization_id, number, name, email, person, language, employment, created_by)
select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7 from users where organization_id = $1
returning {_COLUMNS}
"""
_LIST = f"""
select {_COLUMNS}, count(*) over () as total from users
where organization_id = $1 and ($2::boolean is null or active = $2) and ($3::text is null or name ilike $3)
order by number limit $4 offset $5
"""
_ONE = f"select {_COLUMNS} from users where organization_id = $1 and id = $2"
_CHANGE_CONTRACT = """
with changed as (
    update users set employment = $3 where organization_id = $1 and id = $2
)
insert into contract_changes (organization_id, user_id, number, effective_on, before, after, reason, changed_by)
select $1, $2, coalesce(max(number), 0) + 1, $4, $5, $3, $6, $7 from contract_changes where user_id = $2
returning number, changed_at
"""
_CONTRACT_CHANGES = """
select number, effective_on, before, after, reason, changed_by, changed_at from contract_changes
where organization_id = $1 and user_id = $2 order by number desc limit 200
"""
_LEAVE = "update users set leaves_on = $3 where organization_id = $1 and id = $2"
_LIFECYCLE = """
select revision, status, progress, steps from lifecycles where organization_id = $1 and user_id = $2
"""
_HISTORY = """
select revision, at, what, by, status, progress from lifecycle_history
where organization_id = $1 and user_id = $2 order by revision limit 500
"""
_TAKE = """
with noted as (
    insert into lifecycle_history (organization_id, user_id, revision, at, what, by, status, progress)
    values ($1, $2, $3, $7, $8, $9, $4, $5) on conflict do nothing
), gone as (
    update users set active = false where organization_id = $1 and id = $2 and $4 = 'archived'
)
insert into lifecycles as l (organization_id, user_id, revision, status, progress, steps)
values ($1, $2, $3, $4, $5, $6)
on conflict (organization_id, user_id) do update
set revision = excluded.revision, status = excluded.status, progress = excluded.progress, steps = excluded.steps
where l.revision < excluded.revision
"""


async def organization(tx: Transaction, organization_id: int) -> asyncpg.Record | None:
    """Name and zone; locked, so that people are numbered one after the other, without gaps."""
    return await tx.fetchrow(_LOCK_ORGANIZATION, organization_id)


async def taken(tx: Transaction, organization_id: int, email: str, person: str) -> str | None:
    """What of the two belongs to somebody already."""
    row = await tx.fetchrow(_TAKEN, organization_id, email, person)
    if row is None:
        return None
    return f"the e-mail address {email}" if row["email"] == email else f"the person {person}"


async def add(
    tx: Transaction, organization_id: int, about: tuple[str, str, str, str], employment: Employment, actor: str
) -> asyncpg.Record:
    """`about`: name, e-mail, person, language. After `organization` has locked."""
    told = json.dumps(employment.model_dump(mode="json"))
    row = await tx.fetchrow(_ADD, organization_id, *about, told, actor)
    assert row is not None  # an insert of one row returns it
    return row


async def page(
    tx: Transaction, organization_id: int, wanted: tuple[bool | None, str | None], at: tuple[int, int]
) -> tuple[list[asyncpg.Record], int]:
    """`wanted`: active, text; `at`: page and size."""
    number, size = at
    return await pages.page(tx, _LIST, organization_id, *wanted, number=number, size=size)


async def one(tx: Transaction, organization_id: int, user_id: int, *, hold: bool = False) -> asyncpg.Record | None:
    return await tx.fetchrow(f"{_ONE} for update" if hold else _ONE, organization_id, user_id)


async def change_contract(
    tx: Transaction,
    organization_id: int,
    user_id: int,
    employments: tuple[Employment, Employment],
    about: tuple[date, str | None, str],
) -> asyncpg.Record:
    """`employments`: before, after; `about`: effective on, reason, actor. Under the person's lock."""
    before, after = (json.dumps(one.model_dump(mode="json")) for one in employments)
    effective_on, reason, actor = about
    row = await tx.fetchrow(_CHANGE_CONTRACT, organization_id, user_id, after, effective_on, before, reason, actor)
    assert row is not None  # an insert of one row returns it
    return row


async def contract_changes(tx: Transaction, organization_id: int, user_id: int) -> list[asyncpg.Record]:
    """Newest first."""
    return await tx.fetch(_CONTRACT_CHANGES, organization_id, user_id)


async def leave(tx: Transaction, organization_id: int, user_id: int, leaves_on: object) -> None:
    await tx.execute(_LEAVE, organization_id, user_id, leaves_on)


async def lifecycle(tx: Transaction, organization_id: int, user_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(_LIFECYCLE, organization_id, user_id)


async def history(tx: Transaction, organization_id: int, user_id: int) -> list[asyncpg.Record]:
    return await tx.fetch(_HISTORY, organization_id, user_id)


async def take(tx: Transaction, events: Sequence[tuple[Envelope, object]]) -> None:
    """Life cycles as the worker tells them: the highest revision is true, each is one line of the history."""
    for envelope, event in events:
        if isinstance(event, LifecycleCreated | LifecycleChanged):
            steps = json.dumps({name: step.model_dump(mode="json") for name, step in event.steps.items()})
            key = event.organization_id, event.user_id, event.revision
            about = event.status, event.progress, steps, envelope.time, event.what, event.by
            await tx.execute(_TAKE, *key, *about)

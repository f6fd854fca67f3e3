"""Tasks, their history, and the rules that make them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from llegada.events.task import TaskCreated, TaskFollowed, TaskRule
from llegada.events.task_defaults import DEFAULT_RULES
from llegada.messaging.transaction import Transaction
from reservation_api import pages

SYSTEM = "system"
_RULES = TypeAdapter(tuple[TaskRule, ...])
_COLUMNS = """
id, key, rule, cause, reservation_id, user_id, step, title, role, person, due_at, quality_control, status,
finished_by, created_by, created_at, updated_at
"""
_LIST = f"""
select {_COLUMNS}, due_at < now() and status <> 'done' as overdue, count(*) over () as total from tasks
where organization_id = $1 and ($2::text is null or status = $2) and ($3::text is null or role = $3)
  and ($4::text is null or person = $4) and ($5::bigint is null or reservation_id = $5)
  and ($6::bigint is null or user_id = $6) and ($7::boolean is null or (status <> 'done') = $7)
order by status = 'done', due_at nulls last, id limit $8 offset $9
"""
_ONE = f"""
select {_COLUMNS}, due_at < now() and status <> 'done' as overdue from tasks where organization_id = $1 and id = $2
"""
_HISTORY = """
select at, actor, from_status, to_status, note from task_history
where organization_id = $1 and task_id = $2 order by id limit 500
"""
_ADD = """
with added as (
    insert into tasks (organization_id, key, rule, cause, reservation_id, user_id, step, title, role, person, due_at,
                       quality_control, status, rule_revision, created_by)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    on conflict (organization_id, key) do nothing returning id, organization_id, status
)
insert into task_history (organization_id, task_id, actor, to_status)
select organization_id, id, $15, status from added returning task_id
"""
_FOLLOW = """
with before as (
    select id, status from tasks where organization_id = $1 and key = $2 and rule_revision < $4 for update
), moved as (
    update tasks t set status = case when b.status = 'done' then b.status else $3 end, rule_revision = $4,
                       updated_at = now()
    from before b where t.id = b.id returning t.id, b.status as from_status, t.status as to_status
)
insert into task_history (organization_id, task_id, actor, from_status, to_status, note)
select $1, id, $5, from_status, to_status, $6 from moved where from_status <> to_status
"""
_CHANGE = """
update tasks set status = $3, finished_by = $4, role = $5, person = $6, updated_at = now()
where organization_id = $1 and id = $2
"""
_NOTE = """
insert into task_history (organization_id, task_id, actor, from_status, to_status, note) values ($1, $2, $3, $4, $5, $6)
"""
_SET_RULES = """
insert into task_rules as r (organization_id, revision, rules) values ($1, 1, $2)
on conflict (organization_id) do update set revision = r.revision + 1, rules = excluded.rules
returning revision
"""


async def page(
    tx: Transaction, organization_id: int, wanted: tuple[Any, ...], number: int, size: int
) -> tuple[list[asyncpg.Record], int]:
    """What is due first comes first, what is done last. `wanted`: status, role, person, reservation, user, open."""
    return await pages.page(tx, _LIST, organization_id, *wanted, number=number, size=size)


async def one(tx: Transaction, organization_id: int, task: int, *, hold: bool = False) -> asyncpg.Record | None:
    return await tx.fetchrow(f"{_ONE} for update" if hold else _ONE, organization_id, task)


async def history(tx: Transaction, organization_id: int, task: int) -> list[asyncpg.Record]:
    return await tx.fetch(_HISTORY, organization_id, task)


async def add_by_hand(
    tx: Transaction,
    organization_id: int,
    key: UUID,
    about: tuple[int | None, str, str | None, str | None, datetime | None],
    *,
    controlled: bool,
    actor: str,
) -> int:
    """`about`: reservation, title as JSON, role, person, due."""
    reservation, title, role, person, due_at = about
    made = None, None, reservation, None, None, title, role, person, due_at, controlled, "open", 1, actor
    task: int = await tx.fetchval(_ADD, organization_id, key, *made)
    return task


async def change(
    tx: Transaction,
    organization_id: int,
    before: asyncpg.Record,
    after: tuple[str, str | None, str | None, str | None],
    actor: str,
    note: str | None,
) -> None:
    """`after`: status, who finished it, role, person. Each change is one line of the history."""
    await tx.execute(_CHANGE, organization_id, before["id"], *after)
    await tx.execute(_NOTE, organization_id, before["id"], actor, before["status"], after[0], note)


async def rules(tx: Transaction, organization_id: int) -> tuple[int, tuple[TaskRule, ...]]:
    """Revision and rules; revision 0: the organization has none of its own."""
    row = await tx.fetchrow("select revision, rules from task_rules where organization_id = $1", organization_id)
    return (0, DEFAULT_RULES) if row is None else (row["revision"], _RULES.validate_python(row["rules"]))


async def set_rules(tx: Transaction, organization_id: int, new: Sequence[TaskRule]) -> int:
    told = _RULES.dump_json(tuple(new)).decode()
    revision: int = await tx.fetchval(_SET_RULES, organization_id, told)
    return revision


async def take(tx: Transaction, events: Sequence[object]) -> None:
    """Tasks as the rules want them: each once, and none that somebody has finished is opened again."""
    for event in events:
        if isinstance(event, TaskCreated | TaskFollowed):
            await _added(tx, event)
        if isinstance(event, TaskFollowed):
            because = f"the booking: {event.because}" if event.reservation_id else event.because
            key = event.organization_id, event.key
            await tx.execute(_FOLLOW, *key, event.status, event.revision, SYSTEM, because)


async def _added(tx: Transaction, event: TaskCreated | TaskFollowed) -> None:
    await tx.execute(
        _ADD,
        event.organization_id,
        event.key,
        event.rule,
        event.cause,
        event.reservation_id,
        event.user_id,
        event.step_name,
        json.dumps(event.title),
        event.role,
        event.person,
        event.due_at,
        event.quality_control,
        event.status,
        event.revision,
        SYSTEM,
    )

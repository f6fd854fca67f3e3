"""Tables and statements of the schema backoffice_worker."""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from backoffice_worker.lifecycles import Lifecycle
from backoffice_worker.task_rules import House
from llegada.events.organization import OrganizationConfigured
from llegada.events.person import Employment, LifecycleStep, UserCreated, UserEvent
from llegada.events.task import Fact, TaskCreated, TaskFollowed, TaskRule, TaskRulesConfigured, TaskStatus
from llegada.events.task_defaults import DEFAULT_RULES
from llegada.messaging.transaction import Database, Transaction

_CONFIGURE = """
insert into organizations as o (organization_id, revision, name, time_zone, check_in_time, check_out_time)
values ($1, $2, $3, $4, $5, $6)
on conflict (organization_id) do update
set revision = excluded.revision, name = excluded.name, time_zone = excluded.time_zone,
    check_in_time = excluded.check_in_time, check_out_time = excluded.check_out_time
where o.revision < excluded.revision
"""
_RULE = """
insert into rules as r (organization_id, revision, rules) values ($1, $2, $3)
on conflict (organization_id) do update set revision = excluded.revision, rules = excluded.rules
where r.revision < excluded.revision
"""
_HOUSE = "select name, time_zone, check_in_time, check_out_time from organizations where organization_id = $1"
_NOTE = """
insert into bookings as b (organization_id, reservation_id, guest_name, room, check_in, check_out, asked, paid,
                           payment_revision, facts)
values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, 0), coalesce($9, 0), $10)
on conflict (organization_id, reservation_id) do update
set guest_name = coalesce(excluded.guest_name, b.guest_name), room = coalesce(excluded.room, b.room),
    check_in = coalesce(excluded.check_in, b.check_in), check_out = coalesce(excluded.check_out, b.check_out),
    asked = coalesce(excluded.asked, b.asked),
    paid = case when excluded.payment_revision > b.payment_revision then excluded.paid else b.paid end,
    payment_revision = greatest(excluded.payment_revision, b.payment_revision),
    facts = case when excluded.facts <@ b.facts then b.facts else b.facts || excluded.facts end
returning *
"""
_BOOKING = "select * from bookings where organization_id = $1 and reservation_id = $2"
_ADD_TASK = """
insert into tasks (organization_id, key, subject, scope, follows, status, task) values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing returning true
"""
_FOLLOW = """
update tasks set status = follows ->> $3, revision = revision + 1
where organization_id = $1 and subject = $2 and follows ? $3 and ($4::text is null or scope = $4)
  and status not in ('done', follows ->> $3)
returning key, status, revision, task
"""
_DEADLINE = """
insert into deadlines as d (organization_id, reservation_id, movement, due_at) values ($1, $2, $3, $4)
on conflict (organization_id, reservation_id, movement) do update
set due_at = excluded.due_at, met = false, told = case when d.met then '{}' else d.told end
"""
_MEET = "update deadlines set met = true where organization_id = $1 and reservation_id = $2 and movement = $3"
_OPEN_DEADLINES = """
select organization_id, reservation_id, movement, due_at, told from deadlines
where not met and due_at between now() - interval '2 days' and now() + interval '7 days'
order by cardinality(told), due_at limit 500 for update skip locked
"""
_TELL = """
update deadlines set told = told || $4::text[] where organization_id = $1 and reservation_id = $2 and movement = $3
"""
_BEGIN = """
insert into lifecycles (organization_id, user_id, revision, status, steps, person) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing returning true
"""
_LIFECYCLE = """
select revision, status, steps, person, exit_on, contract from lifecycles
where organization_id = $1 and user_id = $2 for update
"""
_MOVE = """
update lifecycles set revision = $3, status = $4, steps = $5, exit_on = coalesce($6, exit_on)
where organization_id = $1 and user_id = $2
"""
_CHANGE_CONTRACT = """
update lifecycles set contract = $3, person = jsonb_set(person, '{employment}', $4::jsonb)
where organization_id = $1 and user_id = $2
"""
_RULES = TypeAdapter(tuple[TaskRule, ...])


@dataclass(frozen=True)
class News:
    """What an event tells about a booking; None leaves a field as it is."""

    guest_name: str | None = None
    room: str | None = None
    check_in: date | None = None
    check_out: date | None = None
    asked: int | None = None
    paid: int | None = None
    payment_revision: int | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Booking:
    """A booking that is older than this worker has no name here: its number serves."""

    guest_name: str
    room: str
    check_in: date | None
    check_out: date | None
    unpaid: bool
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Deadline:
    organization_id: int
    reservation_id: int
    movement: str
    due_at: datetime
    told: tuple[str, ...]


@dataclass(frozen=True)
class Employee:
    """`person`: with the employment as it is now. `contract`: how often that was changed."""

    person: UserCreated
    lifecycle: Lifecycle
    exit_on: date | None
    contract: int


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self._database.transaction()

    async def configure(self, tx: Transaction, event: OrganizationConfigured) -> None:
        """The newest revision wins, whatever the order of arrival."""
        clock = event.check_in_time, event.check_out_time
        await tx.execute(_CONFIGURE, event.organization_id, event.revision, event.name, event.time_zone, *clock)

    async def set_rules(self, tx: Transaction, event: TaskRulesConfigured) -> None:
        await tx.execute(_RULE, event.organization_id, event.revision, _RULES.dump_json(event.rules).decode())

    async def rules(self, tx: Transaction, organization_id: int) -> tuple[TaskRule, ...]:
        """The organization's own, or those that everybody begins with."""
        found = await tx.fetchval("select rules from rules where organization_id = $1", organization_id)
        return DEFAULT_RULES if found is None else _RULES.validate_python(found)

    async def house(self, tx: Transaction, organization_id: int) -> House:
        row = await tx.fetchrow(_HOUSE, organization_id)
        if row is None:
            return House()
        return House(row["name"], ZoneInfo(row["time_zone"]), row["check_in_time"], row["check_out_time"])

    async def note(self, tx: Transaction, organization_id: int, reservation_id: int, news: News) -> Booking:
        """Add to what is known of a booking, in whatever order it comes; locks it."""
        row = await tx.fetchrow(
            _NOTE,
            organization_id,
            reservation_id,
            news.guest_name,
            news.room,
            news.check_in,
            news.check_out,
            news.asked,
            news.paid,
            news.payment_revision,
            list(news.facts),
        )
        return _booking(row, reservation_id)

    async def booking(self, tx: Transaction, organization_id: int, reservation_id: int) -> Booking:
        return _booking(await tx.fetchrow(_BOOKING, organization_id, reservation_id), reservation_id)

    async def add_task(
        self, tx: Transaction, event: TaskCreated, subject: str, scope: str | None, follows: dict[Fact, TaskStatus]
    ) -> bool:
        """False if the rule has made its task of this cause before."""
        told = json.dumps(event.model_dump(mode="json", exclude={"status", "revision"}))
        arguments = event.organization_id, event.key, subject, scope, json.dumps(follows), event.status, told
        return bool(await tx.fetchval(_ADD_TASK, *arguments))

    async def follow(
        self, tx: Transaction, organization_id: int, subject: str, fact: Fact, scope: str | None = None
    ) -> list[TaskFollowed]:
        """Move the subject's tasks as their rules said; those of one `scope` only, where one is given."""
        rows = await tx.fetch(_FOLLOW, organization_id, subject, fact, scope)
        return [
            TaskFollowed.model_validate(
                {**row["task"], "status": row["status"], "revision": row["revision"], "because": fact}
            )
            for row in rows
        ]

    async def set_deadline(
        self, tx: Transaction, organization_id: int, reservation_id: int, movement: str, due_at: datetime
    ) -> None:
        await tx.execute(_DEADLINE, organization_id, reservation_id, movement, due_at)

    async def meet(self, tx: Transaction, organization_id: int, reservation_id: int, movement: str) -> None:
        await tx.execute(_MEET, organization_id, reservation_id, movement)

    async def open_deadlines(self, tx: Transaction) -> list[Deadline]:
        """Those of the next days, locked; another replica has the rest."""
        return [Deadline(**{**dict(row), "told": tuple(row["told"])}) for row in await tx.fetch(_OPEN_DEADLINES)]

    async def tell(self, tx: Transaction, deadline: Deadline, rules: Sequence[str]) -> None:
        key = deadline.organization_id, deadline.reservation_id, deadline.movement
        await tx.execute(_TELL, *key, list(rules))

    async def begin(self, tx: Transaction, person: UserCreated, lifecycle: Lifecycle) -> bool:
        """False if the person has a life cycle already."""
        steps, told = _steps(lifecycle), json.dumps(person.model_dump(mode="json"))
        key = person.organization_id, person.user_id
        return bool(await tx.fetchval(_BEGIN, *key, lifecycle.revision, lifecycle.status, steps, told))

    async def employee(self, tx: Transaction, organization_id: int, user_id: int) -> Employee | None:
        """Locked."""
        row = await tx.fetchrow(_LIFECYCLE, organization_id, user_id)
        if row is None:
            return None
        steps = {name: LifecycleStep.model_validate(step) for name, step in row["steps"].items()}
        lifecycle = Lifecycle(row["status"], steps, row["revision"])
        return Employee(UserCreated.model_validate(row["person"]), lifecycle, row["exit_on"], row["contract"])

    async def change_contract(self, tx: Transaction, of: UserEvent, number: int, employment: Employment) -> None:
        """`number`: of the newest change that is in it."""
        told = json.dumps(employment.model_dump(mode="json"))
        await tx.execute(_CHANGE_CONTRACT, of.organization_id, of.user_id, number, told)

    async def move(
        self, tx: Transaction, organization_id: int, user_id: int, to: Lifecycle, exit_on: date | None = None
    ) -> None:
        await tx.execute(_MOVE, organization_id, user_id, to.revision, to.status, _steps(to), exit_on)


def _steps(lifecycle: Lifecycle) -> str:
    return json.dumps({name: step.model_dump(mode="json") for name, step in lifecycle.steps.items()})


def _booking(row: Any, reservation_id: int) -> Booking:
    if row is None:
        return Booking(f"#{reservation_id}", "", None, None, unpaid=False, facts=())
    return Booking(
        guest_name=row["guest_name"] or f"#{reservation_id}",
        room=row["room"] or "",
        check_in=row["check_in"],
        check_out=row["check_out"],
        unpaid=row["asked"] is not None and row["paid"] < row["asked"],
        facts=tuple(row["facts"]),
    )

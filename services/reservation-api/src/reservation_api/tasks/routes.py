"""/api/tasks: what there is to do, and the rules that make it."""

import json
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
from fastapi import APIRouter, Depends, Query, Request

from llegada.events.task import TaskRulesConfigured, TaskStatus, TaskStatusChanged
from llegada.messaging.transaction import Transaction
from reservation_api.access import Staff, needs
from reservation_api.answers import body, language
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.problems import NotFound
from reservation_api.reservations import store as reservations
from reservation_api.tasks import store
from reservation_api.tasks.schemas import NewTask, Rules, TaskChange, shown_rule
from reservation_api.tasks.workflow import Moved, move, possible
from reservation_api.telling import tell, work

router = APIRouter(prefix="/api/tasks", tags=["tasks"])
AnyStaff = Annotated[Staff, Depends(needs("staff", "admin"))]
Admin = Annotated[Staff, Depends(needs("admin"))]
TheParts = Annotated[Parts, Depends(parts)]


@router.get("")
async def tasks(
    request: Request,
    staff: AnyStaff,
    part: TheParts,
    status: TaskStatus | None = None,
    role: Annotated[str | None, Query(max_length=60)] = None,
    person: Annotated[str | None, Query(max_length=254)] = None,
    reservation_id: Annotated[Id | None, Query(alias="reservationId")] = None,
    user_id: Annotated[Id | None, Query(alias="userId")] = None,
    to_do: Annotated[bool | None, Query(alias="open")] = None,
    page: Page = 1,
    page_size: PageSize = 50,
) -> dict[str, Any]:
    """What is due first comes first, what is done last. Titles in the reader's language."""
    wanted = status, role, person, reservation_id, user_id, to_do
    async with part.transaction(staff.organization) as tx:
        rows, total = await store.page(tx, staff.organization, wanted, page, page_size)
    meta = {"total": total, "page": page, "pageSize": page_size}
    return body(request, [_shown(request, row) for row in rows], "list", meta)


@router.post("", status_code=201)
async def create(request: Request, wanted: NewTask, staff: AnyStaff, part: TheParts) -> dict[str, Any]:
    """A task by hand."""
    async with part.transaction(staff.organization) as tx:
        number = wanted.reservation_id
        if number is not None and await reservations.one(tx, staff.organization, number) is None:
            raise NotFound(f"there is no reservation {number}")
        title = json.dumps({language(request): wanted.title})
        about = number, title, wanted.role, wanted.person, wanted.due_at
        controlled, actor = wanted.quality_control, staff.subject
        task = await store.add_by_hand(tx, staff.organization, uuid4(), about, controlled=controlled, actor=actor)
        await _audit(request, tx, staff, "task.create", f"task/{task}")
        row = await _known(tx, staff, task)
    return body(request, _shown(request, row), "saved")


@router.get("/rules")
async def rules(request: Request, staff: AnyStaff, part: TheParts) -> dict[str, Any]:
    """Revision 0: the rules that every organization begins with."""
    async with part.transaction(staff.organization) as tx:
        revision, found = await store.rules(tx, staff.organization)
    return body(request, {"revision": revision, "rules": [shown_rule(rule) for rule in found]}, "one")


@router.put("/rules")
async def put_rules(request: Request, wanted: Rules, staff: Admin, part: TheParts) -> dict[str, Any]:
    """Store the rules whole; they hold for what happens from now on."""
    new = [setting.rule() for setting in wanted.rules]
    async with part.transaction(staff.organization) as tx:
        revision = await store.set_rules(tx, staff.organization, new)
        event = TaskRulesConfigured(organization_id=staff.organization, revision=revision, rules=tuple(new))
        await _audit(request, tx, staff, "task.rules", event.subject)
        ids = await tell(tx, request, part, [event])
    await work(part, ids)
    return body(request, {"revision": revision, "rules": [shown_rule(rule) for rule in new]}, "saved")


@router.get("/{task_id}")
async def task(request: Request, task_id: Id, staff: AnyStaff, part: TheParts) -> dict[str, Any]:
    """One task with its history: who moved it, when, and why."""
    async with part.transaction(staff.organization) as tx:
        return body(request, await _whole(request, tx, staff, task_id), "one")


@router.patch("/{task_id}")
async def change(request: Request, task_id: Id, wanted: TaskChange, staff: AnyStaff, part: TheParts) -> dict[str, Any]:
    """Move it, or give it to somebody else. The way of a task: `possible` says where it can go."""
    ids: list[int] = []
    async with part.transaction(staff.organization) as tx:
        held = await _known(tx, staff, task_id, hold=True)
        moved = Moved(held["status"], held["finished_by"])
        if wanted.status is not None:
            moved = move(
                held["status"],
                wanted.status,
                controlled=held["quality_control"],
                finished_by=held["finished_by"],
                actor=staff.subject,
                admin="admin" in staff.roles,
            )
        given = wanted.role is not None or wanted.person is not None
        role, person = (wanted.role, wanted.person) if given else (held["role"], held["person"])
        note = wanted.note or (f"for {role or person}" if given else None)
        after = moved.status, moved.finished_by, role, person
        await store.change(tx, staff.organization, held, after, staff.subject, note)
        await _audit(request, tx, staff, "task.change", f"task/{task_id}")
        if moved.status != held["status"]:
            ids = await tell(tx, request, part, [_event(staff, held, moved.status)])
        data = await _whole(request, tx, staff, task_id)
    await work(part, ids)
    return body(request, data, "saved")


async def _whole(request: Request, tx: Transaction, staff: Staff, task_id: int) -> dict[str, Any]:
    row = await _known(tx, staff, task_id)
    entries = [
        {
            "at": entry["at"].isoformat(),
            "actor": entry["actor"],
            "from": entry["from_status"],
            "to": entry["to_status"],
            "note": entry["note"],
        }
        for entry in await store.history(tx, staff.organization, task_id)
    ]
    return {**_shown(request, row), "history": entries}


async def _known(tx: Transaction, staff: Staff, task_id: int, *, hold: bool = False) -> asyncpg.Record:
    row = await store.one(tx, staff.organization, task_id, hold=hold)
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    return row


def _event(staff: Staff, held: asyncpg.Record, status: TaskStatus) -> TaskStatusChanged:
    return TaskStatusChanged(
        organization_id=staff.organization,
        key=held["key"],
        user_id=held["user_id"],
        reservation_id=held["reservation_id"],
        step_name=held["step"],
        status=status,
        by=staff.subject,
    )


def _shown(request: Request, row: asyncpg.Record) -> dict[str, Any]:
    titles: dict[str, str] = row["title"]
    reservation = row["reservation_id"]
    return {
        "id": row["id"],
        "title": titles.get(language(request)) or next(iter(titles.values())),
        "status": row["status"],
        "possible": possible(row["status"], controlled=row["quality_control"]),
        "role": row["role"],
        "person": row["person"],
        "dueAt": row["due_at"] and row["due_at"].isoformat(),
        "overdue": bool(row["overdue"]),
        "qualityControl": row["quality_control"],
        "finishedBy": row["finished_by"],
        "rule": row["rule"],
        "reservationId": reservation,
        "reservation": None if reservation is None else f"/api/reservations/{reservation}",
        "userId": row["user_id"],
        "step": row["step"],
        "createdBy": row["created_by"],
        "createdAt": row["created_at"].isoformat(),
        "updatedAt": row["updated_at"].isoformat(),
    }


async def _audit(request: Request, tx: Transaction, staff: Staff, action: str, subject: str) -> None:
    await reservations.audit(tx, staff.organization, staff.subject, action, subject, request_id(request))

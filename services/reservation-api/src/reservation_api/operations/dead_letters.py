"""/api/admin/dead-letters: what failed for good, and what operators do about it.

An admin sees and touches the own organization's; an operator, who runs the system, all of them.
"""

import base64
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from llegada.messaging import dead_letter_desk as desk
from llegada.messaging.dead_letter_desk import Selection
from llegada.messaging.transaction import Transaction
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.operations.dry_run import dry_run
from reservation_api.parts import Parts, parts
from reservation_api.problems import Conflict, Invalid, NotFound

router = APIRouter(prefix="/api/admin/dead-letters", tags=["dead letters"])
TheParts = Annotated[Parts, Depends(parts)]
Operator = Annotated[Staff, Depends(needs("operator", "admin"))]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class Chosen(_Body):
    """Which open dead letters: some by their ids, a group, a queue's, what a text is found in, or all."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=1000)] | None = None
    fingerprint: Word | None = None
    queue: Word | None = None
    text: Word | None = None
    all: bool = False

    @model_validator(mode="after")
    def _something(self) -> "Chosen":
        if not self.all and not any((self.ids, self.fingerprint, self.queue, self.text)):
            raise ValueError("choose by ids, fingerprint, queue or text, or say all: true")
        return self

    def selection(self, organization: int | None) -> Selection:
        return Selection(organization, self.ids, self.fingerprint, self.queue, desk.OPEN, self.text)


class Replay(Chosen):
    """`rate`: messages a second, after the first one and the first ten have succeeded."""

    rate: Annotated[int, Field(ge=1, le=desk.MOST_RATE)] = 10
    dry_run: bool = False


class Discard(Chosen):
    """`reason` stands in the log of each."""

    reason: Word


class NewBody(_Body):
    body: dict[str, Any]


@dataclass(frozen=True)
class _Desk:
    tx: Transaction
    organization: int | None


@asynccontextmanager
async def _at_the_desk(part: Parts, staff: Staff) -> AsyncGenerator[_Desk]:
    """Operators work as the system; everybody else inside the own organization, by row-level security too."""
    everything = "operator" in staff.roles
    database = part.resources.database
    transaction = database.transaction() if everything else part.transaction(staff.organization)
    try:
        async with transaction as tx:
            yield _Desk(tx, None if everything else staff.organization)
    except desk.NotThereError as error:
        raise NotFound(str(error)) from error
    except desk.NotValidError as error:
        raise Invalid(str(error)) from error
    except desk.DeskError as error:
        raise Conflict(str(error)) from error


@router.get("")
async def find(
    request: Request,
    staff: Operator,
    part: TheParts,
    page: Page = 1,
    page_size: PageSize = 50,
    state: Annotated[str | None, Query(max_length=20)] = desk.OPEN,
    fingerprint: Annotated[str | None, Query(max_length=64)] = None,
    queue: Annotated[str | None, Query(max_length=200)] = None,
    text: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:
    """Newest first; `state=` (empty) for those of every state."""
    async with _at_the_desk(part, staff) as at:
        wanted = Selection(at.organization, None, fingerprint, queue, state or None, text)
        found = await desk.find(at.tx, wanted, page, page_size)
    return body(request, _rows(found.rows), "list", {"total": found.total, "page": page, "pageSize": page_size})


@router.get("/groups")
async def groups(
    request: Request,
    staff: Operator,
    part: TheParts,
    page: Page = 1,
    page_size: PageSize = 50,
    state: Annotated[str | None, Query(max_length=20)] = desk.OPEN,
) -> dict[str, Any]:
    """Failures of one kind together, the largest group first, each with its first and last time."""
    async with _at_the_desk(part, staff) as at:
        found = await desk.groups(at.tx, Selection(at.organization, state=state or None), page, page_size)
    return body(request, _rows(found.rows), "list", {"total": found.total, "page": page, "pageSize": page_size})


@router.get("/replays")
async def replays(request: Request, staff: Operator, part: TheParts) -> dict[str, Any]:
    """The newest hundred, with what came of each."""
    async with _at_the_desk(part, staff) as at:
        return body(request, _rows(await desk.replays(at.tx, at.organization)), "list")


@router.get("/replays/{replay_id}")
async def replay_of(request: Request, replay_id: Id, staff: Operator, part: TheParts) -> dict[str, Any]:
    async with _at_the_desk(part, staff) as at:
        (row,) = await desk.replays(at.tx, at.organization, replay_id)
    return body(request, _row(row), "one")


@router.post("/replays", status_code=202)
async def replay(request: Request, wanted: Replay, staff: Operator, part: TheParts) -> dict[str, Any]:
    """Replay in measured batches: one, then ten, then `rate` a second; stops by itself when they fail again.

    With `dryRun` nothing is sent, and the answer says what would happen.
    """
    async with _at_the_desk(part, staff) as at:
        selection = wanted.selection(at.organization)
        if wanted.dry_run:
            return body(request, await dry_run(at.tx, selection), "one")
        number, total = await desk.replay(at.tx, selection, wanted.rate, staff.subject)
    return body(request, {"id": number, "total": total}, "saved")


@router.post("/replays/{replay_id}/stop")
async def stop(request: Request, replay_id: Id, staff: Operator, part: TheParts) -> dict[str, Any]:
    """What was not sent yet is open again."""
    async with _at_the_desk(part, staff) as at:
        back = await desk.stop(at.tx, at.organization, replay_id, staff.subject, f"stopped by {staff.subject}")
    return body(request, {"id": replay_id, "openAgain": back}, "saved")


@router.post("/discard")
async def discard(request: Request, wanted: Discard, staff: Operator, part: TheParts) -> dict[str, Any]:
    """Give up for good; the rows are kept seven days more."""
    async with _at_the_desk(part, staff) as at:
        count = await desk.discard(at.tx, wanted.selection(at.organization), wanted.reason, staff.subject)
    return body(request, {"discarded": count}, "saved")


@router.get("/{number}")
async def one(request: Request, number: Id, staff: Operator, part: TheParts) -> dict[str, Any]:
    """One with body, headers, all its passes, and what was done with it. A body that is not JSON comes as base64."""
    async with _at_the_desk(part, staff) as at:
        found = await desk.one(at.tx, at.organization, number)
        await desk.log(at.tx, found.row["organization_id"], staff.subject, "view", {}, [number])
    data = _row(found.row)
    data["body"], data["editedBody"] = _shown(found.row["body"]), _shown(found.row["edited_body"])
    return body(request, {**data, "passes": _rows(found.passes), "log": _rows(found.log)}, "one")


@router.put("/{number}/body")
async def edit(request: Request, number: Id, new: NewBody, staff: Operator, part: TheParts) -> dict[str, Any]:
    """Replace the body for the replay; it is checked against the event's schema, the difference is kept."""
    async with _at_the_desk(part, staff) as at:
        changed = await desk.edit(at.tx, at.organization, number, new.body, staff.subject)
    return body(request, {"changed": changed}, "saved")


def _rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [_row(row) for row in rows]


def _row(row: Any) -> dict[str, Any]:
    return {to_camel(name): value for name, value in row.items()}


def _shown(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return {"base64": base64.b64encode(content).decode()}

"""/api/sire: the file for the portal, and what the portal said. Services have no part in it but preparing the rows."""

from collections import defaultdict
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel
from starlette.responses import Response

from llegada.events.sire import SireResultRecorded, file_content
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Day, Number, Page, PageSize
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.problems import Conflict, Invalid, NotFound
from reservation_api.reservations.store import audit
from reservation_api.sire import store
from reservation_api.telling import tell, work

router = APIRouter(prefix="/api/sire", tags=["sire"])
AnyStaff = Annotated[Staff, Depends(needs("staff", "admin"))]
TheParts = Annotated[Parts, Depends(parts)]
RowState = Literal["waiting", "in_file", "accepted", "rejected", "uncertain", "superseded"]
Result = Literal["accepted", "partial", "rejected", "uncertain"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class NewFile(_Body):
    """The day of the movements."""

    day: Day


class RowError(_Body):
    """`row` counts from 1, as the portal does."""

    row: Number
    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class FileResult(_Body):
    """What the portal said: `partial` names the rows that it refused, the others it took."""

    result: Result
    row_errors: Annotated[list[RowError], Field(max_length=5000)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> "FileResult":
        if (self.result == "partial") != bool(self.row_errors) and self.result != "rejected":
            raise ValueError("rowErrors belong to partial and rejected; partial needs at least one")
        return self


@router.get("/rows")
async def rows(
    request: Request,
    staff: AnyStaff,
    part: TheParts,
    state: Annotated[RowState | None, Query()] = None,
    day: date | None = None,
    page: Page = 1,
    page_size: PageSize = 50,
) -> dict[str, Any]:
    """Every guest's report, what is due first first; without the documents."""
    async with part.transaction(staff.organization) as tx:
        found, total = await store.page(tx, staff.organization, state, day, page, page_size)
    data = [
        {
            "reservationId": row["reservation_id"],
            "movement": row["movement"],
            "day": row["moved_on"].isoformat(),
            "dueAt": row["due_at"].isoformat(),
            "overdue": row["overdue"],
            "state": row["state"],
            "reason": row["reason"],
            "file": row["file_number"],
        }
        for row in found
    ]
    return body(request, data, "list", {"total": total, "page": page, "pageSize": page_size})


@router.post("/files", status_code=201)
async def close_file(request: Request, wanted: NewFile, staff: AnyStaff, part: TheParts) -> dict[str, Any]:
    """Close the day's waiting rows into a file. What comes later goes into the next one, so no row leaves twice."""
    async with part.transaction(staff.organization) as tx:
        number, count = await store.close_file(tx, staff.organization, wanted.day, staff.subject)
        if not count:
            raise Conflict(f"no report of {wanted.day} is waiting")
        await _audit(request, tx, staff, "sire.file", number)
    return body(request, {"number": number, "day": wanted.day.isoformat(), "rows": count}, "saved")


@router.get("/files")
async def files(
    request: Request, staff: AnyStaff, part: TheParts, page: Page = 1, page_size: PageSize = 50
) -> dict[str, Any]:
    """The files, newest first."""
    async with part.transaction(staff.organization) as tx:
        found, total = await store.files(tx, staff.organization, page, page_size)
    data = [
        {
            "number": row["number"],
            "day": row["day"].isoformat(),
            "rows": row["rows"],
            "createdBy": row["created_by"],
            "createdAt": row["created_at"].isoformat(),
            "result": row["result"],
            "recordedAt": row["recorded_at"] and row["recorded_at"].isoformat(),
        }
        for row in found
    ]
    return body(request, data, "list", {"total": total, "page": page, "pageSize": page_size})


@router.get("/files/{number}", response_class=Response)
async def download(request: Request, number: Number, staff: AnyStaff, part: TheParts) -> Response:
    """The file as the portal takes it: tab-separated, CRLF between the rows."""
    async with part.transaction(staff.organization) as tx:
        found = await store.lines(tx, staff.organization, number)
        if not found:
            raise NotFound(f"there is no SIRE file {number}")
        await _audit(request, tx, staff, "sire.download", number)
    content = file_content([row["line"] for row in found])
    headers = {"content-disposition": f'attachment; filename="sire-{number}.txt"'}
    return Response(content, media_type="text/plain; charset=us-ascii", headers=headers)


@router.post("/files/{number}/result")
async def record(
    request: Request, number: Number, wanted: FileResult, staff: AnyStaff, part: TheParts
) -> dict[str, Any]:
    """Record what the portal said; `uncertain` may be corrected later, everything else is final."""
    async with part.transaction(staff.organization) as tx:
        found = await store.lines(tx, staff.organization, number)
        if not found:
            raise NotFound(f"there is no SIRE file {number}")
        marks = _marks(wanted, [row["key"] for row in found])
        if not await store.record(tx, staff.organization, number, wanted.result, marks):
            raise Conflict(f"the result of file {number} was recorded before")
        await _audit(request, tx, staff, f"sire.{wanted.result}", number)
        ids = await tell(tx, request, part, _events(staff, number, found, marks))
    await work(part, ids)
    return body(request, {"number": number, "result": wanted.result}, "done")


def _marks(wanted: FileResult, keys: list[str]) -> list[tuple[str, str, str | None]]:
    """Key, state and reason of each row."""
    errors = {error.row: error.message for error in wanted.row_errors}
    unknown = sorted(row for row in errors if row > len(keys))
    if unknown:
        raise Invalid(f"rowErrors: the file has {len(keys)} rows, not {unknown[0]}")
    if wanted.result == "partial":
        return [
            (key, "rejected" if row in errors else "accepted", errors.get(row)) for row, key in enumerate(keys, start=1)
        ]
    return [(key, wanted.result, errors.get(row)) for row, key in enumerate(keys, start=1)]


def _events(
    staff: Staff, number: int, found: list[Any], marks: list[tuple[str, str, str | None]]
) -> list[SireResultRecorded]:
    """One event for each booking, movement and result."""
    grouped: dict[tuple[Any, ...], list[tuple[str, str | None]]] = defaultdict(list)
    for row, (key, state, reason) in zip(found, marks, strict=True):
        grouped[row["reservation_id"], row["movement"], row["intent"], state].append((key, reason))
    return [
        SireResultRecorded.model_validate(
            {
                "organization_id": staff.organization,
                "reservation_id": reservation,
                "movement": movement,
                "intent": intent,
                "file_number": number,
                "keys": [key for key, _ in rows],
                "result": state,
                "reason": "; ".join(reason for _, reason in rows if reason) or None,
            }
        )
        for (reservation, movement, intent, state), rows in grouped.items()
    ]


async def _audit(request: Request, tx: Any, staff: Staff, action: str, number: int) -> None:
    await audit(tx, staff.organization, staff.subject, action, f"sire-file/{number}", request_id(request))

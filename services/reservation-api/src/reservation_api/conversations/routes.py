"""GET /api/messages: what guests wrote, and what waits for a person."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.conversations import store
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.problems import Conflict
from reservation_api.reservations.store import audit

router = APIRouter(prefix="/api/messages", tags=["messages"])
AnyStaff = Annotated[Staff, Depends(needs("staff", "admin"))]
TheParts = Annotated[Parts, Depends(parts)]


@router.get("")
async def messages(
    request: Request,
    staff: AnyStaff,
    part: TheParts,
    state: Annotated[Literal["received", "answered", "needs_staff", "done"] | None, Query()] = None,
    reservation_id: Annotated[Id | None, Query(alias="reservationId")] = None,
    page: Page = 1,
    page_size: PageSize = 50,
) -> dict[str, Any]:
    """The organization's messages, newest first; `state=needs_staff` is the list of what nobody has answered."""
    async with part.transaction(staff.organization) as tx:
        rows, total = await store.page(tx, staff.organization, state, reservation_id, page, page_size)
    data = [
        {
            "id": row["id"],
            "reservationId": row["reservation_id"],
            "phone": row["phone"],
            "name": row["name"],
            "text": row["body"],
            "media": row["media"],
            "at": row["at"].isoformat(),
            "state": row["state"],
            "reply": row["reply"],
        }
        for row in rows
    ]
    return body(request, data, "list", {"total": total, "page": page, "pageSize": page_size})


@router.post("/{message_id}/done")
async def done(request: Request, message_id: Id, staff: AnyStaff, part: TheParts) -> dict[str, Any]:
    """Somebody has seen to it."""
    async with part.transaction(staff.organization) as tx:
        if not await store.done(tx, staff.organization, message_id):
            raise Conflict(f"message {message_id} is not there, or nobody has to see to it any more")
        await audit(tx, staff.organization, staff.subject, "message.done", f"message/{message_id}", request_id(request))
    return body(request, {"id": message_id, "state": "done"}, "saved")

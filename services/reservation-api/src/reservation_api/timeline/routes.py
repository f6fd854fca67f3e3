"""GET /api/reservations/{id}/timeline: everything that happened to a booking, and who did what."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.parts import Parts, parts
from reservation_api.problems import NotFound
from reservation_api.reservations import store as reservations
from reservation_api.timeline import store

router = APIRouter(tags=["timeline"])


@router.get("/api/reservations/{reservation_id}/timeline")
async def timeline(
    request: Request,
    reservation_id: int,
    staff: Annotated[Staff, Depends(needs("staff", "admin", "operator"))],
    part: Annotated[Parts, Depends(parts)],
    page: Annotated[int, Query(ge=1)] = 1,
    page_size: Annotated[int, Query(alias="pageSize", ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """Oldest first. 404 for another organization's reservation, as for one that does not exist."""
    async with part.transaction(staff.organization) as tx:
        if await reservations.one(tx, staff.organization, reservation_id) is None:
            raise NotFound(f"there is no reservation {reservation_id}")
        entries, total = await store.of_reservation(tx, staff.organization, reservation_id, page, page_size)
    data = [
        {"at": e.happened_at.isoformat(), "type": e.type, "source": e.source, "actor": e.actor, "summary": e.summary}
        for e in entries
    ]
    return body(request, data, "list", {"total": total, "page": page, "pageSize": page_size})

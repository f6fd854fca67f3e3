"""What happened to a booking, and who did what: as a list, and as a live stream."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.parts import Parts, parts
from reservation_api.problems import NotFound
from reservation_api.reservations import store as reservations
from reservation_api.timeline import store
from reservation_api.timeline.stream import Place, Stream

router = APIRouter(tags=["timeline"])
Reader = Annotated[Staff, Depends(needs("staff", "admin", "operator"))]
TheParts = Annotated[Parts, Depends(parts)]
LastEvent = Annotated[str | None, Header(alias="Last-Event-ID", max_length=60)]


@router.get("/api/reservations/{reservation_id}/timeline")
async def timeline(
    request: Request,
    reservation_id: Id,
    staff: Reader,
    part: TheParts,
    page: Page = 1,
    page_size: PageSize = 50,
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


async def own_reservation(reservation_id: Id, staff: Reader, part: TheParts) -> int:
    """Before a stream begins: 404 for another organization's reservation, as for one that does not exist."""
    async with part.transaction(staff.organization) as tx:
        if await reservations.one(tx, staff.organization, reservation_id) is None:
            raise NotFound(f"there is no reservation {reservation_id}")
    return reservation_id


@router.get("/api/reservations/{reservation_id}/events", response_class=EventSourceResponse)
async def events_of_one(
    request: Request,
    reservation_id: Annotated[int, Depends(own_reservation)],
    staff: Reader,
    part: TheParts,
    last_event_id: LastEvent = None,
) -> AsyncGenerator[ServerSentEvent]:
    """One reservation's timeline, live. Resumable with `Last-Event-ID`, at any replica."""
    async for event in _live(request, part, staff, reservation_id, last_event_id):
        yield event


@router.get("/api/events", response_class=EventSourceResponse)
async def events_of_all(
    request: Request, staff: Reader, part: TheParts, last_event_id: LastEvent = None
) -> AsyncGenerator[ServerSentEvent]:
    """The whole organization's timeline, live. Resumable with `Last-Event-ID`, at any replica."""
    async for event in _live(request, part, staff, None, last_event_id):
        yield event


async def _live(
    request: Request, part: Parts, staff: Staff, reservation_id: int | None, last_event_id: str | None
) -> AsyncGenerator[ServerSentEvent]:
    stream: Stream = request.app.state.stream
    yield ServerSentEvent(comment="listening", retry=2000)
    async for place, entry in stream.entries(part, staff.organization, reservation_id, Place.read(last_event_id)):
        yield ServerSentEvent(id=str(place), event="timeline", data=entry)

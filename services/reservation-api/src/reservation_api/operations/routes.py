"""What operators look at."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.operations.queues import stats
from reservation_api.parts import Parts, parts

router = APIRouter(prefix="/api/admin", tags=["operations"])


@router.get("/queue/stats")
async def queue_stats(
    request: Request,
    _staff: Annotated[Staff, Depends(needs("operator", "admin"))],
    part: Annotated[Parts, Depends(parts)],
) -> dict[str, Any]:
    """Per queue: waiting, active, delayed, completed (24 h), failed, consumers; outbox lag and broker health."""
    return body(request, await stats(part.resources), "one")

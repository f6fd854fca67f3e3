"""GET /api/admin/schedule: what the clock did last, and what it does next."""

from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request

from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.organizations.schemas import InvitationSettings
from reservation_api.parts import Parts, parts
from reservation_api.problems import NotFound
from reservation_api.schedule.due import next_run

router = APIRouter(prefix="/api/admin/schedule", tags=["operations"])
_LAST = """
select o.time_zone, o.stay -> 'invitations' as invitations, s.day, s.began_at, s.invited, s.left_out
from organizations o left join schedule_runs s using (organization_id)
where o.organization_id = $1 order by s.day desc nulls last limit $2
"""


@router.get("")
async def schedule(
    request: Request,
    staff: Annotated[Staff, Depends(needs("admin", "operator"))],
    part: Annotated[Parts, Depends(parts)],
) -> dict[str, Any]:
    """The invitations of one's own organization: the last ten runs, newest first, and the next."""
    async with part.transaction(staff.organization) as tx:
        rows = await tx.fetch(_LAST, staff.organization, 10)
    if not rows:
        raise NotFound(f"organization {staff.organization} has no settings yet")
    settings = InvitationSettings.model_validate(rows[0]["invitations"] or {})
    following = next_run(datetime.now(UTC), ZoneInfo(rows[0]["time_zone"]), settings)
    runs = [
        {
            "day": row["day"].isoformat(),
            "beganAt": row["began_at"].isoformat(),
            "invited": row["invited"],
            "leftOut": row["left_out"],
        }
        for row in rows
        if row["day"] is not None
    ]
    data = {"job": "late-invitations", "nextRunAt": following and following.isoformat(), "runs": runs}
    return body(request, data, "list")

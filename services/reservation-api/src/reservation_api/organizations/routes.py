"""GET and PUT of an organization's settings; a change is told to the workers as an event."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from llegada.events.organization import OrganizationConfigured
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id
from reservation_api.edge import request_id
from reservation_api.organizations import store
from reservation_api.organizations.schemas import OrganizationSettings, StaySettings
from reservation_api.organizations.store import Organization
from reservation_api.parts import Parts, parts
from reservation_api.problems import NotFound
from reservation_api.reservations.store import audit
from reservation_api.telling import tell, work

_STAY = tuple(StaySettings.model_fields)
router = APIRouter(prefix="/api/organizations", tags=["organizations"])
Admin = Annotated[Staff, Depends(needs("admin"))]
TheParts = Annotated[Parts, Depends(parts)]


@router.get("/{organization_id}/settings")
async def settings(request: Request, organization_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    """One's own organization's settings."""
    _own(organization_id, staff)
    async with part.transaction(staff.organization) as tx:
        found = await store.one(tx, staff.organization)
    if found is None:
        raise NotFound(f"organization {organization_id} has no settings yet")
    return body(request, _shown(found, found.revision), "one")


@router.put("/{organization_id}/settings")
async def put(
    request: Request, organization_id: Id, wanted: OrganizationSettings, staff: Admin, part: TheParts
) -> dict[str, Any]:
    """Store the settings whole, and tell the workers."""
    _own(organization_id, staff)
    given = wanted.model_dump(mode="json", exclude_none=True)
    stay = {name: given[name] for name in _STAY if name in given}
    channels = [channel.value for channel in wanted.channels]
    new = Organization(wanted.name, wanted.time_zone, wanted.language, channels, given["wordings"], stay)
    async with part.transaction(staff.organization) as tx:
        revision = await store.put(tx, staff.organization, new)
        event = OrganizationConfigured.model_validate(
            {
                "organization_id": staff.organization,
                "revision": revision,
                "name": new.name,
                "time_zone": new.time_zone,
                "wordings": new.wordings,
                **new.stay,
            }
        )
        ids = await tell(tx, request, part, [event])
        action, by = "organization.configure", staff.subject
        await audit(tx, staff.organization, by, action, event.subject, request_id(request))
    await work(part, ids)
    return body(request, _shown(new, revision), "saved")


def _own(organization_id: int, staff: Staff) -> None:
    if organization_id != staff.organization:
        raise NotFound(f"there is no organization {organization_id}")


def _shown(found: Organization, revision: int) -> dict[str, Any]:
    return {
        "name": found.name,
        "timeZone": found.time_zone,
        "language": found.language,
        "channels": found.channels,
        "wordings": found.wordings,
        **StaySettings.model_validate(found.stay).model_dump(mode="json", by_alias=True, exclude_none=True),
        "revision": revision,
    }

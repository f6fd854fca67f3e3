"""What statements are made of: work times and consultations by import, and the settings of a person's statements."""

import json
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from llegada.messaging.transaction import Transaction
from reservation_api import pages
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.problems import Invalid, NotFound
from reservation_api.reservations.store import audit
from reservation_api.statements import store
from reservation_api.statements.schemas import BillingSettings, WorkTimes

router = APIRouter(tags=["statements"])
Admin = Annotated[Staff, Depends(needs("admin"))]
TheParts = Annotated[Parts, Depends(parts)]
_LIST = """
select w.external_id, w.user_id, w.client_id, w.client_name, w.worked_on, w.minutes, w.kind, s.number,
       count(*) over () as total
from work_times w left join statements s on s.id = w.statement_id
where w.organization_id = $1 and ($2::bigint is null or w.user_id = $2) and ($3::date is null or w.worked_on >= $3)
  and ($4::date is null or w.worked_on <= $4) and ($5::boolean is null or (w.statement_id is not null) = $5)
order by w.worked_on desc, w.id desc limit $6 offset $7
"""
_BILLING = "select billing from users where organization_id = $1 and id = $2"
_SET_BILLING = "update users set billing = $3 where organization_id = $1 and id = $2 returning true"


@router.post("/api/work-times")
async def take_in(request: Request, wanted: WorkTimes, staff: Admin, part: TheParts) -> dict[str, Any]:
    """Import up to 2000 work times, all or none. The same import again changes nothing; what is on a statement stays
    as it is, and is named in `billed` where it was to be changed. A client's name may change while the statement is
    `failed`; then make that anew.
    """
    async with part.transaction(staff.organization) as tx:
        strangers = await store.strangers(tx, staff.organization, [w.user_id for w in wanted.work_times])
        if strangers:
            raise Invalid(f"userId: nobody of the organization has the number {', '.join(map(str, strangers))}")
        row = await store.take_in(tx, staff.organization, wanted.work_times)
        await _audit(request, tx, staff, "work-times.import", f"organization/{staff.organization}")
    created, updated, billed = row["created"], row["updated"], row["billed"] or []
    unchanged = len(wanted.work_times) - created - updated - len(billed)
    data = {"created": created, "updated": updated, "unchanged": unchanged, "billed": billed}
    return body(request, data, "saved")


@router.get("/api/work-times")
async def work_times(
    request: Request,
    staff: Admin,
    part: TheParts,
    user_id: Annotated[Id | None, Query(alias="userId")] = None,
    begin: Annotated[date | None, Query(alias="from")] = None,
    until: date | None = None,
    billed: bool | None = None,  # noqa: FBT001 - a query parameter
    page: Page = 1,
    page_size: PageSize = 50,
) -> dict[str, Any]:
    """Newest first, with the statement that each is on."""
    async with part.transaction(staff.organization) as tx:
        chosen = user_id, begin, until, billed
        rows, total = await pages.page(tx, _LIST, staff.organization, *chosen, number=page, size=page_size)
    data = [
        {
            "externalId": row["external_id"],
            "userId": row["user_id"],
            "clientId": row["client_id"],
            "clientName": row["client_name"],
            "date": row["worked_on"].isoformat(),
            "minutes": row["minutes"],
            "kind": row["kind"],
            "statement": row["number"],
        }
        for row in rows
    ]
    return body(request, data, "list", {"total": total, "page": page, "pageSize": page_size})


@router.get("/api/users/{user_id}/statement-settings")
async def settings(request: Request, user_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    """When and how a person's statement is made."""
    async with part.transaction(staff.organization) as tx:
        row = await tx.fetchrow(_BILLING, staff.organization, user_id)
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return body(request, _shown(BillingSettings.model_validate(row["billing"])), "one")


@router.put("/api/users/{user_id}/statement-settings")
async def put_settings(
    request: Request, user_id: Id, wanted: BillingSettings, staff: Admin, part: TheParts
) -> dict[str, Any]:
    """Stored whole; for the statements that are ordered from now on."""
    async with part.transaction(staff.organization) as tx:
        told = json.dumps(wanted.model_dump(mode="json"))
        if not await tx.fetchval(_SET_BILLING, staff.organization, user_id, told):
            raise NotFound(f"there is no user {user_id}")
        await _audit(request, tx, staff, "user.statement-settings", f"user/{user_id}")
    return body(request, _shown(wanted), "saved")


def _shown(found: BillingSettings) -> dict[str, Any]:
    return found.model_dump(mode="json", by_alias=True)


async def _audit(request: Request, tx: Transaction, staff: Staff, action: str, subject: str) -> None:
    await audit(tx, staff.organization, staff.subject, action, subject, request_id(request))

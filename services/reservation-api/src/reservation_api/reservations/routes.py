"""POST and GET of reservations."""

import hashlib
import secrets
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import JSONResponse, Response

from llegada.events.reservation import ReservationCreated
from llegada.events.types import Channel, Contact, Money, ReservationId
from llegada.messaging import outbox
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.organizations import store as organizations
from reservation_api.organizations.store import Organization
from reservation_api.parts import Parts, parts
from reservation_api.problems import Conflict, Invalid, NotFound
from reservation_api.reservations import store
from reservation_api.reservations.schemas import NewReservation
from reservation_api.telling import envelope_of, work
from reservation_api.timeline.steps import expect

router = APIRouter(prefix="/api/reservations", tags=["reservations"])
AnyStaff = Annotated[Staff, Depends(needs("staff", "admin"))]
Reader = Annotated[Staff, Depends(needs("staff", "admin", "operator"))]
TheParts = Annotated[Parts, Depends(parts)]


@router.post("", status_code=201)
async def create(
    request: Request,
    wanted: NewReservation,
    staff: AnyStaff,
    part: TheParts,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Response:
    """Store the reservation and answer; link and message are made in the background (or here, without the queue)."""
    request_hash = hashlib.sha256(await request.body()).digest()
    inline = part.resources.inline
    async with part.transaction(staff.organization) as tx:
        opening = await store.opening(tx, staff.organization, idempotency_key, request_hash)
        if idempotency_key is not None and not opening.is_new:
            return replayed(await store.earlier(tx, staff.organization, idempotency_key), request_hash, 201)
        row, event = made(wanted, staff, opening, part.frontend_url)
        data = store.shown(row.as_stored(), part.frontend_url)
        answer = body(request, data, "created_background")
        message = outbox.event_message(event, envelope_of(request, event))
        ids = await store.add(
            tx, row, message, None if inline is None else inline.held_until(), idempotency_key, answer
        )
    if await work(part, ids):
        data = await shown_one(part, staff, row.id)
        if data["processingStatus"] == "completed":
            answer = body(request, data, "created")
        else:
            answer = body(request, data, "created_background")
    return JSONResponse(answer, 201)


@router.get("")
async def find(
    request: Request,
    staff: Reader,
    part: TheParts,
    page: Page = 1,
    page_size: PageSize = 50,
    status: Annotated[str | None, Query(max_length=30)] = None,
    processing_status: Annotated[
        Literal["pending", "processing", "completed", "failed"] | None, Query(alias="processingStatus")
    ] = None,
    check_in_from: Annotated[date | None, Query(alias="checkInFrom")] = None,
    check_in_until: Annotated[date | None, Query(alias="checkInUntil")] = None,
    text: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """The organization's reservations, newest first."""
    wanted = store.Filter(status, processing_status, check_in_from, check_in_until, text)
    async with part.transaction(staff.organization) as tx:
        rows, total = await store.page(tx, staff.organization, wanted, page, page_size)
    data = [store.shown(row, part.frontend_url) for row in rows]
    return body(request, data, "list", {"total": total, "page": page, "pageSize": page_size})


@router.get("/{reservation_id}")
async def one(request: Request, reservation_id: Id, staff: Reader, part: TheParts) -> dict[str, Any]:
    """One reservation with its steps. 404 for another organization's, as for one that does not exist."""
    return body(request, await shown_one(part, staff, reservation_id), "one")


async def shown_one(part: Parts, staff: Staff, reservation_id: int) -> dict[str, Any]:
    async with part.transaction(staff.organization) as tx:
        row = await store.one(tx, staff.organization, reservation_id)
    if row is None:
        raise NotFound(f"there is no reservation {reservation_id}")
    return store.shown(row, part.frontend_url)


def replayed(earlier: store.Earlier, request_hash: bytes, status: int = 200) -> Response:
    """The answer that was given before; Conflict if it was given to something else."""
    if earlier.request_hash != request_hash:
        raise Conflict("this Idempotency-Key was used with another body; use a new key for a new request")
    return JSONResponse(earlier.answer, status, {"Idempotency-Replayed": "true"})


def made(
    wanted: NewReservation, staff: Staff, opening: store.Opening, frontend_url: str
) -> tuple[store.NewRow, ReservationCreated]:
    """The reservation and its event, with what was not said filled in."""
    organization = organizations.needed(opening.organization, staff.organization)
    check_in, check_out = _dates(wanted, organization)
    language, token = wanted.language or organization.language, secrets.token_urlsafe(24)
    event = ReservationCreated(
        organization_id=staff.organization,
        reservation_id=ReservationId(opening.id),
        guest_name=wanted.guest_name,
        contact=Contact(phone=wanted.guest_phone, email=wanted.guest_email),
        language=language,
        amount=Money(amount=wanted.amount, currency=wanted.currency),
        check_in_date=check_in,
        check_out_date=check_out,
        arrival_time=wanted.arrival_time,
        property_name=organization.name,
        check_in_url=store.check_in_link(frontend_url, opening.id, token),
        channels=tuple(Channel(channel) for channel in organization.channels),
    )
    row = store.NewRow(
        organization_id=staff.organization,
        guest_name=wanted.guest_name,
        guest_phone=wanted.guest_phone,
        guest_email=wanted.guest_email,
        amount=wanted.amount,
        currency=wanted.currency,
        check_in_date=check_in,
        check_out_date=check_out,
        arrival_time=wanted.arrival_time,
        room_number=wanted.room_number,
        language=language,
        guests=wanted.documents(),
        steps=expect({}, event.expected_steps()),
        check_in_token=token,
        created_by=staff.subject,
        id=opening.id,
        created_at=opening.now,
    )
    return row, event


def _dates(wanted: NewReservation, organization: Organization) -> tuple[date, date]:
    """Today and tomorrow in the organization's own zone, where nothing was said."""
    today = datetime.now(ZoneInfo(organization.time_zone)).date()
    check_in = wanted.check_in_date or today
    check_out = wanted.check_out_date or check_in + timedelta(days=1)
    if check_out <= check_in:
        raise Invalid(f"checkOutDate {check_out} must be after checkInDate {check_in}")
    return check_in, check_out

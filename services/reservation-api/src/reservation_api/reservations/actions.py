"""What the front desk does with a reservation: each action is one transaction, one event, and an answer at once."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Request
from starlette.responses import JSONResponse, Response

from llegada.events.types import Contact
from reservation_api.access import Staff, needs
from reservation_api.answers import MessageKey, body
from reservation_api.bounds import Id
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.problems import NotFound
from reservation_api.reservations import stay, store
from reservation_api.reservations.lifecycle import allow
from reservation_api.reservations.routes import replayed, shown_one
from reservation_api.reservations.schemas import Cancellation, CheckIn, Guests, Invitation, NewContact, Registration
from reservation_api.reservations.stay import Held, Outcome
from reservation_api.telling import tell, work

router = APIRouter(prefix="/api/reservations/{reservation_id}", tags=["reservations"])
TheParts = Annotated[Parts, Depends(parts)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


class Desk:
    """Who does it, to which reservation. The same `Idempotency-Key` and body give the same answer, another body 409."""

    def __init__(
        self,
        request: Request,
        reservation_id: Id,
        staff: Annotated[Staff, Depends(needs("staff", "admin"))],
        part: TheParts,
        idempotency_key: Key = None,
    ) -> None:
        self._request = request
        self._id = reservation_id
        self._staff = staff
        self._part = part
        self._key = idempotency_key

    async def act(self, action: str, decide: Callable[[Held, datetime], Outcome], key: MessageKey = "done") -> Response:
        """Lock the reservation, refuse what its state does not allow, store what `decide` says, tell the workers."""
        part, organization = self._part, self._staff.organization
        request_hash = hashlib.sha256(self._request.url.path.encode() + await self._request.body()).digest()
        ids: list[int] = []
        async with part.transaction(organization) as tx:
            if self._key is not None and not await store.take_key(tx, organization, self._key, request_hash):
                return replayed(await store.earlier(tx, organization, self._key), request_hash)
            held = await store.hold(tx, organization, self._id, part.frontend_url)
            if held is None:
                raise NotFound(f"there is no reservation {self._id}")
            allow(action, held.status)
            outcome = decide(held, datetime.now(UTC))
            await store.change(tx, held, outcome)
            if outcome.event is not None:
                ids = await tell(tx, self._request, part, [outcome.event])
            subject, actor = f"reservation/{self._id}", self._staff.subject
            await store.audit(tx, organization, actor, f"reservation.{action}", subject, request_id(self._request))
            row = await store.one(tx, organization, self._id)
            assert row is not None  # it was locked above
            answer = body(self._request, store.shown(row, part.frontend_url), key if outcome.event else "saved")
            if self._key is not None:
                await store.keep_answer(tx, organization, self._key, answer)
        if await work(part, ids):
            answer = {**answer, "data": await shown_one(part, self._staff, self._id)}
        return JSONResponse(answer)


AtDesk = Annotated[Desk, Depends()]


@router.put("/guest-contact")
async def change_contact(desk: AtDesk, wanted: NewContact) -> Response:
    """Reach the guest in another way: a new link and a new code go there, nothing more to the old one."""
    contact = Contact(phone=wanted.guest_phone, email=wanted.guest_email)
    return await desk.act("guest-contact", lambda held, now: stay.change_contact(held, contact, now))


@router.put("/guests")
async def change_guests(desk: AtDesk, wanted: Guests) -> Response:
    """The guests' documents, whole: the one who booked first."""
    documents = wanted.documents()
    return await desk.act("guests", lambda _held, _now: Outcome({"guests": documents}))


@router.post("/check-in")
async def check_in(desk: AtDesk, wanted: Annotated[CheckIn, Body(default_factory=CheckIn)]) -> Response:
    """The guest is here: door code, confirmation and registration follow in the background."""
    return await desk.act(
        "check-in", lambda held, now: stay.check_in(held, wanted.room_number, wanted.documents(), now)
    )


@router.post("/check-out")
async def check_out(desk: AtDesk) -> Response:
    """The guest has left: codes are revoked, the exit is registered."""
    return await desk.act("check-out", stay.check_out)


@router.post("/cancel")
async def cancel(desk: AtDesk, wanted: Annotated[Cancellation, Body(default_factory=Cancellation)]) -> Response:
    """The guest does not come: codes are revoked, what was not sent yet is dropped."""
    return await desk.act("cancel", lambda held, now: stay.cancel(held, "cancelled", wanted.reason, now))


@router.post("/no-show")
async def no_show(desk: AtDesk) -> Response:
    """The guest did not come."""
    return await desk.act("no-show", lambda held, now: stay.cancel(held, "no_show", None, now))


@router.post("/pin")
async def new_pin(desk: AtDesk) -> Response:
    """A new door code, sent to the guest; the old one is deleted at the lock."""
    return await desk.act("pin", stay.new_pin)


@router.post("/invitation")
async def invite(desk: AtDesk, wanted: Annotated[Invitation, Body(default_factory=Invitation)]) -> Response:
    """Invite the guest to check in online; `customMessage` in staff's own words."""
    return await desk.act("invitation", lambda held, now: stay.invite(held, wanted.custom_message, now))


@router.post("/sire")
async def register(desk: AtDesk, wanted: Annotated[Registration, Body(default_factory=Registration)]) -> Response:
    """Register the guests with SIRE (again), with their documents as they are now."""
    return await desk.act("sire", lambda held, _now: stay.register(held, wanted.movement))


@router.post("/sire/reported")
async def reported(desk: AtDesk, wanted: Annotated[Registration, Body(default_factory=Registration)]) -> Response:
    """The portal has the guests, though the gateway did not say so: somebody has looked (Consultar extranjeros)."""
    return await desk.act("sire", lambda held, _now: stay.reported(held, wanted.movement))


@router.get("/sire")
async def registration(
    request: Request,
    reservation_id: Id,
    staff: Annotated[Staff, Depends(needs("staff", "admin", "operator"))],
    part: TheParts,
) -> dict[str, Any]:
    """Entry and exit of this reservation's guests, as far as they are."""
    data = await shown_one(part, staff, reservation_id)
    steps = {step["step"]: step for step in data["steps"]}
    answer = {"entry": steps.get("sire"), "exit": steps.get("sireExit"), "registeredAt": data["sireRegisteredAt"]}
    return body(request, answer, "one")

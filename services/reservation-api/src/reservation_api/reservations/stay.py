"""What each action at the front desk changes in a reservation, and the event that tells the workers. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from llegada.events.event import ReservationEvent, StepState
from llegada.events.reservation import (
    CHECK_IN_CONFIRMATION,
    CONFIRMATION,
    INVITATION,
    PASSCODE,
    PASSCODE_REVOKED,
    PAYMENT_LINK,
    PIN,
    SIRE_ENTRY,
    SIRE_EXIT,
    WELCOME,
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationContactUpdated,
    ReservationInvitationDue,
    ReservationPinRequested,
)
from llegada.events.sire import SireRegistrationRequested, SireResultRecorded
from llegada.events.types import Channel, Contact, Guest, Money, Stay
from reservation_api.problems import Conflict
from reservation_api.timeline.steps import Steps, close, expect

_MESSAGES = (CONFIRMATION, INVITATION, WELCOME, PIN, CHECK_IN_CONFIRMATION)
_STILL_UNUSED = timedelta(hours=20)
"""A computed code that nobody uses within 24 hours of its start is suspended; one that began earlier is made anew."""
_LINK_MARGIN = timedelta(hours=12)
"""A payment link that dies sooner than this is no help in a message."""


@dataclass(frozen=True)
class Held:
    """A reservation whose row is locked, with what its organization decided. Times are local to `zone`."""

    id: int
    organization_id: int
    status: str
    payment_status: str
    guest_name: str
    contact: Contact
    language: str
    amount: int
    currency: str
    check_in_date: date
    check_out_date: date
    arrival_time: time | None
    room_number: str | None
    guests: list[dict[str, Any]]
    contact_version: int
    steps: Steps
    check_in_url: str
    payment_link_expires_at: datetime | None
    door_codes: list[dict[str, Any]]
    checked_in_at: datetime | None
    checked_out_at: datetime | None
    property_name: str
    zone: ZoneInfo
    channels: tuple[Channel, ...]
    check_in_time: time
    check_out_time: time
    lock_rooms: tuple[tuple[str, ...], ...]
    """The rooms of each lock; none: it is everybody's."""
    has_sire: bool
    by_gateway: bool = False
    """SIRE's rows leave by the organization's gateway, not by a file."""

    @property
    def planned(self) -> Stay:
        """From check-in time on the first day to check-out time on the last."""
        return Stay(
            room=self.room_number,
            starts_at=datetime.combine(self.check_in_date, self.check_in_time, self.zone),
            ends_at=datetime.combine(self.check_out_date, self.check_out_time, self.zone),
        )

    def from_now(self, now: datetime) -> Stay:
        """What a code that is made now shall open: who is here goes in at once, who comes later when it was planned.

        Never from a time long past: see `_STILL_UNUSED`.
        """
        begins = now if self.status == "checked_in" else max(now, self.planned.starts_at)
        return self.planned.model_copy(update={"starts_at": begins})

    def is_over(self, now: datetime) -> bool:
        return now >= self.planned.ends_at

    def has_lock(self, room: str | None) -> bool:
        """Whether a lock of the organization is this room's, or everybody's."""
        return any(not rooms or room in rooms for rooms in self.lock_rooms)

    def known(self) -> dict[str, Any]:
        """The fields of every BookingEvent."""
        return {
            "organization_id": self.organization_id,
            "reservation_id": self.id,
            "guest_name": self.guest_name,
            "contact": self.contact,
            "language": self.language,
            "amount": Money.model_validate({"amount": self.amount, "currency": self.currency}),
            "check_in_date": self.check_in_date,
            "check_out_date": self.check_out_date,
            "arrival_time": self.arrival_time,
            "property_name": self.property_name,
            "check_in_url": self.check_in_url,
            "channels": self.channels,
            "contact_version": self.contact_version,
        }

    @property
    def is_paid(self) -> bool:
        return self.payment_status == "paid"

    def next(self, step: str) -> int:
        """The intent of somebody who wants this step anew."""
        return self.steps[step].intent + 1 if step in self.steps else 1

    def current(self, step: str) -> int:
        """The intent of somebody for whom what is there or under way will do."""
        return self.next(step) if step not in self.steps or _failed(self, step) else self.steps[step].intent


@dataclass(frozen=True)
class Outcome:
    """Columns that change, and the event; `changes` empty and no event: nothing is left to do."""

    changes: dict[str, Any] = field(default_factory=dict)
    event: ReservationEvent | None = None
    over: tuple[str, ...] = ()
    reason: str = ""

    def steps_after(self, steps: Steps) -> Steps:
        """What was open and is wanted no more is closed; what the event wants is expected."""
        closed = close(steps, self.over, self.reason)
        return closed if self.event is None else expect(closed, self.event.expected_steps())


def change_contact(held: Held, contact: Contact, now: datetime) -> Outcome:
    """J2. The link and the code of the old contact may be known to a stranger: both are made anew."""
    if contact == held.contact:
        return Outcome()
    version = held.contact_version + 1
    event = ReservationContactUpdated(
        **{**held.known(), "contact": contact, "contact_version": version},
        stay=held.planned if held.is_over(now) else held.from_now(now),
        payment_link_intent=None if held.is_paid else held.next(PAYMENT_LINK),
        passcode_intent=held.next(PASSCODE) if held.has_lock(held.room_number) and not held.is_over(now) else None,
        welcome_intent=held.next(WELCOME),
    )
    changed = {"guest_phone": contact.phone, "guest_email": contact.email, "contact_version": version}
    return Outcome(changed, event, over=_MESSAGES, reason="the guest's contact has changed")


def check_in(held: Held, room: str | None, guests: list[dict[str, Any]] | None, now: datetime) -> Outcome:
    """J3, J7. A code that opens the right doors from now on is kept."""
    planned = held.planned
    if held.is_over(now):
        raise Conflict(f"{_ended(held)}; book further nights as a new reservation")
    stay = planned.model_copy(update={"room": room or held.room_number, "starts_at": now})
    documents = held.guests if guests is None else guests
    event = ReservationCheckedIn(
        **held.known(),
        stay=stay,
        passcode_intent=_passcode(held, stay.room, now) if held.has_lock(stay.room) else None,
        check_in_confirmation_intent=held.next(CHECK_IN_CONFIRMATION),
        sire_intent=held.next(SIRE_ENTRY) if held.has_sire else None,
        checked_in_on=now.astimezone(held.zone).date(),
        guests=documented(documents),
    )
    changes = {"status": "checked_in", "checked_in_at": now, "room_number": stay.room, "guests": documents}
    return Outcome(changes, event)


def check_out(held: Held, now: datetime) -> Outcome:
    """J12. Entry stays to be registered; everything else that was open is over."""
    event = ReservationCheckedOut(
        organization_id=held.organization_id,
        reservation_id=held.id,
        property_name=held.property_name,
        passcode_revoked_intent=_revoked(held),
        checked_out_at=now,
        checked_out_on=now.astimezone(held.zone).date(),
        sire_intent=held.next(SIRE_EXIT) if held.has_sire else None,
        guests=documented(held.guests),
    )
    changes = {"status": "checked_out", "checked_out_at": now}
    return Outcome(changes, event, over=(*_MESSAGES, PAYMENT_LINK, PASSCODE), reason="the guest has checked out")


def cancel(held: Held, status: str, reason: str | None, now: datetime) -> Outcome:
    """J12: `status` cancelled or no_show."""
    event = ReservationCancelled(
        organization_id=held.organization_id,
        reservation_id=held.id,
        property_name=held.property_name,
        passcode_revoked_intent=_revoked(held),
        cancelled_at=now,
        reason=reason or ("the guest did not come" if status == "no_show" else None),
    )
    changes = {"status": status, "cancelled_at": now, "cancel_reason": reason}
    return Outcome(changes, event, over=(*_MESSAGES, PAYMENT_LINK, PASSCODE), reason="the reservation was cancelled")


def new_pin(held: Held, now: datetime) -> Outcome:
    """J5. Refused while the last one is still on its way: a second click must not make a second code."""
    if not held.has_lock(held.room_number):
        room = f"room {held.room_number}" if held.room_number else "a stay without a room"
        raise Conflict(f"no lock of this organization opens {room}; an admin adds it in the settings")
    if held.is_over(now):
        raise Conflict(f"{_ended(held)}, and a code would end with it; book further nights as a new reservation")
    if _open(held, PIN) and not _failed(held, PASSCODE):
        raise Conflict("a new code is already on its way to the guest; its state stands in `steps`")
    event = ReservationPinRequested(
        **held.known(), stay=held.from_now(now), passcode_intent=held.next(PASSCODE), pin_intent=held.next(PIN)
    )
    return Outcome({}, event)


def invite(held: Held, custom_message: str | None, now: datetime) -> Outcome:
    """J4. A link that is there and lives long enough is the guest's link. A second click sends no second message."""
    if _open(held, INVITATION):
        raise Conflict("an invitation is already on its way to the guest; its state stands in `steps`")
    event = ReservationInvitationDue(
        **held.known(),
        payment_link_intent=None if held.is_paid else _link(held, now),
        invitation_intent=held.next(INVITATION),
        custom_message=custom_message,
    )
    return Outcome({}, event)


def register(held: Held, movement: str) -> Outcome:
    """J7, by hand: with the documents as they are now."""
    if not held.has_sire:
        raise Conflict("this organization does not register with SIRE; an admin adds it in its settings")
    step = SIRE_ENTRY if movement == "entry" else SIRE_EXIT
    moved = held.checked_out_at if movement == "exit" else held.checked_in_at
    if moved is None:
        raise Conflict(f"the guest's {movement} has not happened yet")
    event = SireRegistrationRequested.model_validate(
        {
            "organization_id": held.organization_id,
            "reservation_id": held.id,
            "movement": movement,
            "intent": held.next(step),
            "property_name": held.property_name,
            "moved_on": moved.astimezone(held.zone).date(),
            "guests": documented(held.guests),
        }
    )
    return Outcome({}, event)


def reported(held: Held, movement: str) -> Outcome:
    """Somebody has looked at the portal, and the guests are there: what the gateway left open is closed."""
    if not held.by_gateway:
        raise Conflict("this organization registers by file: record the file's result (/api/sire/files)")
    name = SIRE_ENTRY if movement == "entry" else SIRE_EXIT
    step = held.steps.get(name)
    if step is None or step.state is not StepState.FAILED:
        state = "was not wanted" if step is None else f"is {step.state}"
        raise Conflict(f"the registration of the {movement} {state}; only one that has failed is looked up")
    event = SireResultRecorded.model_validate(
        {
            "organization_id": held.organization_id,
            "reservation_id": held.id,
            "movement": movement,
            "intent": step.intent,
            "file_number": 0,
            "keys": (),
            "result": "accepted",
        }
    )
    return Outcome({}, event)


def documented(guests: Iterable[dict[str, Any]]) -> tuple[Guest, ...]:
    """The documents as events carry them: the API's `guestBirthDate` is the event's `birth_date`."""
    return tuple(Guest.model_validate({_event_name(name): value for name, value in g.items()}) for g in guests)


def _event_name(name: str) -> str:
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return words.removeprefix("guest_")


def _link(held: Held, now: datetime) -> int:
    expires = held.payment_link_expires_at
    dying = expires is not None and expires < now + _LINK_MARGIN
    return held.next(PAYMENT_LINK) if dying and not _open(held, PAYMENT_LINK) else held.current(PAYMENT_LINK)


def _passcode(held: Held, room: str | None, now: datetime) -> int:
    """The code that is there will do if it opens this room's doors already; one under way opens as planned."""
    starts = [datetime.fromisoformat(code["starts_at"]) for code in held.door_codes] or [held.planned.starts_at]
    opens_already = max(starts) <= now < min(starts) + _STILL_UNUSED
    return held.current(PASSCODE) if room == held.room_number and opens_already else held.next(PASSCODE)


def _ended(held: Held) -> str:
    return f"the stay ended on {held.check_out_date} at {held.check_out_time:%H:%M}"


def _open(held: Held, step: str) -> bool:
    return step in held.steps and held.steps[step].state in (StepState.PENDING, StepState.PROCESSING)


def _failed(held: Held, step: str) -> bool:
    return step in held.steps and held.steps[step].state in (StepState.FAILED, StepState.SKIPPED)


def _revoked(held: Held) -> int | None:
    return held.next(PASSCODE_REVOKED) if PASSCODE in held.steps else None

"""What check-in wants of the lock, whatever the time of day."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from llegada.events.event import StepReport, StepState
from llegada.events.reservation import (
    INVITATION,
    PASSCODE,
    PAYMENT_LINK,
    PIN,
    ReservationCheckedIn,
    ReservationContactUpdated,
    ReservationInvitationDue,
    ReservationPinRequested,
)
from llegada.events.types import Channel, Contact
from reservation_api.problems import Conflict
from reservation_api.reservations.stay import Held, change_contact, check_in, invite, new_pin
from reservation_api.timeline.steps import Step

ZONE = ZoneInfo("America/Bogota")
PLANNED = datetime(2026, 12, 1, 15, tzinfo=ZONE)
HOUR = timedelta(hours=1)


def held(code_opens: datetime | None, wanted: int = 1) -> Held:
    codes: list[dict[str, Any]] = [] if code_opens is None else [{"starts_at": code_opens.isoformat()}]
    known = {PASSCODE: Step(intent=wanted)} if wanted else {}
    return Held(
        id=1,
        organization_id=1,
        status="confirmed",
        payment_status="pending",
        guest_name="Ana",
        contact=Contact(phone="+573001234567"),
        language="es",
        amount=180_000,
        currency="COP",
        check_in_date=date(2026, 12, 1),
        check_out_date=date(2026, 12, 3),
        arrival_time=None,
        room_number="204",
        guests=[],
        contact_version=1,
        steps=known,
        check_in_url="https://desk.test/check-in/1",
        payment_link_expires_at=None,
        door_codes=codes,
        checked_in_at=None,
        checked_out_at=None,
        property_name="Hostal",
        zone=ZONE,
        channels=(Channel.WHATSAPP,),
        check_in_time=time(15),
        check_out_time=time(11),
        lock_rooms=((),),
        has_sire=False,
    )


@pytest.mark.parametrize(
    ("code_opens", "arrives", "room", "intent"),
    [
        pytest.param(PLANNED, PLANNED + HOUR, "204", 1, id="as planned"),
        pytest.param(
            PLANNED + HOUR, PLANNED + 3 * HOUR, "204", 1, id="set after the planned hour, open when they come"
        ),
        pytest.param(PLANNED, PLANNED - HOUR, "204", 2, id="early, before the code opens"),
        pytest.param(PLANNED, PLANNED + HOUR, "305", 2, id="another room"),
        pytest.param(None, PLANNED + HOUR, "204", 1, id="still under way, and open in time"),
        pytest.param(None, PLANNED - HOUR, "204", 2, id="still under way, and too late for who comes early"),
    ],
)
def test_a_code_is_kept_at_check_in_only_if_it_opens_these_doors_now(
    code_opens: datetime | None, arrives: datetime, room: str, intent: int
) -> None:
    event = check_in(held(code_opens), room, None, arrives).event
    assert isinstance(event, ReservationCheckedIn)
    assert event.passcode_intent == intent


def test_whoever_has_no_code_yet_gets_the_first() -> None:
    event = check_in(held(None, wanted=0), None, None, PLANNED - HOUR).event
    assert isinstance(event, ReservationCheckedIn)
    assert event.passcode_intent == 1


OTHER = Contact(phone="+573009999999")
IN_HOUSE = replace(held(PLANNED - 4 * HOUR), status="checked_in")


def test_a_guest_who_is_here_gets_a_code_that_opens_now() -> None:
    """Arrived hours early; then the phone number was corrected, or the code was asked for anew."""
    early = PLANNED - 4 * HOUR
    changed, asked = change_contact(IN_HOUSE, OTHER, early).event, new_pin(IN_HOUSE, early).event
    assert isinstance(changed, ReservationContactUpdated)
    assert isinstance(asked, ReservationPinRequested)
    assert changed.stay is not None
    assert changed.stay.starts_at == asked.stay.starts_at == early


def test_whoever_comes_later_gets_a_code_from_the_planned_hour_on() -> None:
    changed = change_contact(held(PLANNED), OTHER, PLANNED - 30 * HOUR).event
    assert isinstance(changed, ReservationContactUpdated)
    assert changed.stay is not None
    assert changed.stay.starts_at == PLANNED


def test_a_code_never_begins_a_day_ago() -> None:
    """TTLock suspends a computed code that nobody uses within 24 hours of its start."""
    asked = new_pin(IN_HOUSE, PLANNED + 30 * HOUR).event
    assert isinstance(asked, ReservationPinRequested)
    assert asked.stay.starts_at == PLANNED + 30 * HOUR
    late = check_in(held(PLANNED), "204", None, PLANNED + 30 * HOUR).event
    assert isinstance(late, ReservationCheckedIn)
    assert (late.passcode_intent, late.stay.starts_at) == (2, PLANNED + 30 * HOUR)


def test_after_the_end_there_is_no_code_to_make_and_a_contact_can_still_be_corrected() -> None:
    over = PLANNED + 60 * HOUR
    with pytest.raises(Conflict, match="ended on 2026-12-03 at 11:00"):
        new_pin(IN_HOUSE, over)
    changed = change_contact(IN_HOUSE, OTHER, over).event
    assert isinstance(changed, ReservationContactUpdated)
    assert changed.passcode_intent is None


@pytest.mark.parametrize(("code", "possible"), [(StepState.PENDING, False), (StepState.FAILED, True)])
def test_a_new_code_can_be_asked_for_again_once_the_last_one_has_failed(code: StepState, *, possible: bool) -> None:
    known = StepReport(step=PASSCODE, state=code, intent=2)
    waiting = {PASSCODE: Step(intent=2, fact=known), PIN: Step(intent=1)}
    again = replace(IN_HOUSE, steps=waiting)
    if not possible:
        with pytest.raises(Conflict, match="already on its way"):
            new_pin(again, PLANNED)
        return
    asked = new_pin(again, PLANNED).event
    assert isinstance(asked, ReservationPinRequested)
    assert (asked.passcode_intent, asked.pin_intent) == (3, 2)


def test_a_room_without_a_lock_needs_no_code_although_others_have_one() -> None:
    """A house with locks on its private rooms alone."""
    dorm = replace(held(None, wanted=0), lock_rooms=(("101",), ("102",)), room_number=None)
    assert check_in(dorm, "dorm", None, PLANNED).event.passcode_intent is None  # type: ignore[union-attr]
    assert check_in(dorm, "101", None, PLANNED).event.passcode_intent == 1  # type: ignore[union-attr]
    assert change_contact(dorm, OTHER, PLANNED).event.passcode_intent is None  # type: ignore[union-attr]
    with pytest.raises(Conflict, match="a stay without a room"):
        new_pin(dorm, PLANNED)


@pytest.mark.parametrize(("state", "possible"), [(StepState.PROCESSING, False), (StepState.FAILED, True)])
def test_a_second_click_invites_nobody_twice(state: StepState, *, possible: bool) -> None:
    job = StepReport(step=INVITATION, state=state, intent=1, job="notification-worker.send")
    again = replace(held(PLANNED), steps={INVITATION: Step(intent=1, jobs={job.job: job})})
    if not possible:
        with pytest.raises(Conflict, match="already on its way"):
            invite(again, None, PLANNED)
        return
    asked = invite(again, None, PLANNED).event
    assert isinstance(asked, ReservationInvitationDue)
    assert asked.invitation_intent == 2


@pytest.mark.parametrize(("under_way", "intent"), [(True, 2), (False, 3)])
def test_a_link_that_takes_the_place_of_a_dying_one_is_made_once(intent: int, *, under_way: bool) -> None:
    jobs = {"payment-worker.link": StepReport(step=PAYMENT_LINK, state=StepState.PROCESSING, intent=2)}
    done = StepReport(step=PAYMENT_LINK, state=StepState.COMPLETED, intent=2)
    step = Step(intent=2, jobs=jobs, fact=None if under_way else done)
    dying = replace(held(PLANNED), steps={PAYMENT_LINK: step}, payment_link_expires_at=PLANNED + HOUR)
    asked = invite(dying, None, PLANNED).event
    assert isinstance(asked, ReservationInvitationDue)
    assert asked.payment_link_intent == intent

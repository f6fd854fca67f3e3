"""What check-in wants of the lock, whatever the time of day."""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from llegada.events.reservation import PASSCODE, ReservationCheckedIn
from llegada.events.types import Channel, Contact
from reservation_api.reservations.stay import Held, check_in
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
        has_locks=True,
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

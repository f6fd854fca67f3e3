"""The ten faults of the system that this one replaces: each has a test named after it here.

Pure where the fault was a wrong decision; what it takes to keep the promise through crashes is proven by the tests that
each docstring names.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydantic import SecretStr

from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import (
    CONFIRMATION,
    PASSCODE,
    PAYMENT_LINK,
    WELCOME,
    ReservationCheckedIn,
    ReservationContactUpdated,
)
from llegada.events.types import Channel, Contact, Guest, Money, OrganizationId, ReservationId
from llegada.messaging.envelope import Lane, first
from llegada.messaging.failures import Permanent, RateLimited, Transient
from lock_worker.passcodes import name_of, window
from notification_worker.messages import Booking, take
from notification_worker.whatsapp import UNREACHABLE, failure_of
from reservation_api.organizations.schemas import InvitationSettings
from reservation_api.reservations.stay import Held, change_contact, check_in, new_pin
from reservation_api.schedule.due import run_due
from reservation_api.timeline.steps import Step
from reservation_api.webhooks import bold, whatsapp
from sire_worker.filing import Property, check

ZONE = ZoneInfo("America/Bogota")
NOW = datetime(2026, 11, 30, 12, tzinfo=ZONE)
NOON = datetime(2026, 12, 1, 12, tzinfo=ZONE)
PHONE = Contact(phone="+573001234567")


def held(**changes: Any) -> Held:
    known: dict[str, Any] = {
        "id": 17,
        "organization_id": OrganizationId(1),
        "status": "notification_sent",
        "payment_status": "pending",
        "guest_name": "Ana",
        "contact": PHONE,
        "language": "es",
        "amount": 180_000,
        "currency": "COP",
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "arrival_time": None,
        "room_number": "204",
        "guests": [],
        "contact_version": 1,
        "steps": {PAYMENT_LINK: Step(intent=1), CONFIRMATION: Step(intent=1)},
        "check_in_url": "https://desk.test/17",
        "payment_link_expires_at": None,
        "door_codes": [],
        "checked_in_at": None,
        "checked_out_at": None,
        "property_name": "Hostal",
        "zone": ZONE,
        "channels": (Channel.WHATSAPP,),
        "check_in_time": time(15),
        "check_out_time": time(11),
        "lock_rooms": ((),),
        "has_sire": True,
    }
    return Held(**{**known, **changes})


def contact_changed(number: int) -> ReservationContactUpdated:
    event = change_contact(held(), Contact(phone=f"+57300000000{number}"), NOW).event
    assert isinstance(event, ReservationContactUpdated)
    return event


def test_fault_1_nothing_is_called_sent_before_it_was_sent_and_each_step_is_noted() -> None:
    """Also: tests/end_to_end/test_jobs_under_faults.py, J3-ttlock-killed: one code, one message."""
    outcome = change_contact(held(), Contact(phone="+573000000001"), NOW)
    assert not {"status", "sent_message", "sent_message_at"} & set(outcome.changes)
    steps = outcome.steps_after(held().steps)
    assert {steps[name].state.value for name in (PAYMENT_LINK, PASSCODE, WELCOME)} == {"pending"}


def test_fault_2_a_webhook_is_signed_and_the_same_news_is_the_same_message() -> None:
    """Also: tests/end_to_end/test_conversation.py, forged webhooks change nothing."""
    data = {"payment_id": "P", "amount": {"total": 1}}
    body = json.dumps({"id": "E-1", "type": "SALE_APPROVED", "time": 1, "data": data}).encode()
    signature = hmac.new(b"key", base64.b64encode(body), hashlib.sha256).hexdigest()
    keys = {1: SecretStr("key")}
    assert bold.signers(keys, None, body, signature) == [1]
    assert bold.signers(keys, None, body + b" ", signature) == []
    assert bold.signers(keys, None, body, hmac.new(b"", base64.b64encode(body), hashlib.sha256).hexdigest()) == []
    told = bold.Notification.model_validate_json(body)
    once, again = (bold.message(told, 1, correlation) for correlation in ("first delivery", "second delivery"))
    assert once.envelope.id == again.envelope.id


def test_fault_3_the_schedule_survives_a_restart_and_a_missed_hour() -> None:
    """Also: test_schedule.py, any number of schedulers at the same instant invite once (the row of the day decides)."""
    begins = datetime(2026, 11, 30, 20, tzinfo=ZONE)
    missed = [run_due(begins + timedelta(minutes=minutes), ZONE, InvitationSettings()) for minutes in (0, 5, 90, 180)]
    assert missed == [date(2026, 11, 30)] * 4
    assert run_due(begins - timedelta(seconds=1), ZONE, InvitationSettings()) is None


def test_fault_4_without_a_code_no_message_leaves_and_errors_have_advice() -> None:
    """Also: tests/end_to_end/test_stay.py, a lock that refuses is told and nothing leaves without a code."""
    event = check_in(held(), None, None, NOON).event
    assert isinstance(event, ReservationCheckedIn)
    assert event.passcode_intent == 1
    assert take(Booking(), event) == []
    refused = failure_of(httpx.Response(400, json={"error": {"code": 131026, "message": "x"}}))
    assert refused.reason
    assert refused.advice


@pytest.mark.parametrize(
    ("code", "failure", "by_mail"),
    [(131026, Permanent, True), (132001, Permanent, False), (130429, RateLimited, False), (131000, Transient, False)],
)
def test_fault_5_an_error_class_decides_who_is_tried_again_and_who_gets_a_mail(
    code: int, failure: type[Exception], by_mail: bool
) -> None:
    found = failure_of(httpx.Response(400, json={"error": {"code": code, "message": "x"}}))
    assert isinstance(found, failure)
    assert (found.code in UNREACHABLE) is by_mail


def test_fault_6_a_code_opens_from_the_arrival_on_has_one_name_per_wish_and_the_old_one_is_replaced() -> None:
    """Also: test_locks.py, a new code replaces the old one at the lock; two stays of the same hours share no code."""
    later = held(check_in_date=date(2026, 12, 20), check_out_date=date(2026, 12, 22))
    stay = new_pin(later, NOON).event.stay  # type: ignore[union-attr]
    assert window(stay.starts_at, stay.ends_at)[0] == datetime(2026, 12, 20, 15, tzinfo=ZONE)
    assert name_of(17, 1) == name_of(17, 1) != name_of(17, 2)
    known = held(steps={PASSCODE: Step(intent=1)})
    assert new_pin(known, NOON).event.passcode_intent == 2  # type: ignore[union-attr]


def test_fault_7_contracts_are_the_providers_own() -> None:
    """Also: test_bold.py, the request is Bold's contract; test_filing.py, the official file byte by byte."""
    guest = Guest.model_validate(
        {
            "nationality": "DE",
            "document_type": "passport",
            "document_number": "C01X00T47",
            "first_surname": "Müller",
            "first_names": "Erika",
            "birth_date": date(1990, 2, 1),
        }
    )
    (row,) = check([guest], "entry", date(2026, 11, 23), Property("12345", "5001")).rows
    columns = ["12345", "5001", "3", "C01X00T47", "23", "MULLER", "", "ERIKA", "E", "23/11/2026", "23", "169"]
    assert row.line.split("\t") == [*columns, "01/02/1990"]


@pytest.mark.parametrize("amount", [10_000, 180_000, 7_654_321])
def test_fault_8_a_guest_is_asked_for_the_bookings_own_amount(amount: int) -> None:
    event = change_contact(held(amount=amount), Contact(phone="+573000000001"), NOW).event
    assert isinstance(event, ReservationContactUpdated)
    assert event.amount == Money(amount=amount)


def test_fault_9_a_second_genuine_wish_is_worked() -> None:
    """Each has an intent and an id of its own; a repetition of one of them is told by that id."""
    before = held()
    once = change_contact(before, Contact(phone="+573000000001"), NOW)
    after = held(contact=Contact(phone="+573000000001"), contact_version=2, steps=once.steps_after(before.steps))
    twice = change_contact(after, Contact(phone="+573000000002"), NOW)
    assert isinstance(once.event, ReservationContactUpdated)
    assert isinstance(twice.event, ReservationContactUpdated)
    assert (once.event.welcome_intent, twice.event.welcome_intent) == (1, 2)
    assert (once.event.payment_link_intent, twice.event.payment_link_intent) == (2, 3)
    ids = {
        first(event, source="test", correlation_id="r", lane=Lane.INTERACTIVE, traceparent=None).id
        for event in (once.event, twice.event)
    }
    assert len(ids) == 2
    newest = Booking()
    take(newest, twice.event)
    assert take(newest, link(2)) == [], "the first wish's link does not complete the second message"


def link(intent: int) -> PaymentLinkCreated:
    return PaymentLinkCreated(
        organization_id=OrganizationId(1),
        reservation_id=ReservationId(17),
        intent=intent,
        url=f"https://checkout.test/{intent}",
        link_id="LNK",
        reference="r",
        amount=Money(amount=180_000),
        expires_at=datetime.now(UTC),
    )


def test_fault_10_every_entry_of_a_batch_is_taken() -> None:
    """Also: tests/end_to_end/test_conversation.py, a batch of two messages told ten times is answered once each."""

    def change(number: int) -> dict[str, Any]:
        inbound = {
            "id": f"wamid.{number}",
            "from": "573001234567",
            "timestamp": 1,
            "type": "text",
            "text": {"body": "?"},
        }
        status = {"id": f"wamid.S{number}", "status": "delivered", "timestamp": 1}
        value = {"metadata": {"phone_number_id": "100"}, "messages": [inbound], "statuses": [status]}
        return {"field": "messages", "value": value}

    batch = {"entry": [{"changes": [change(1), change(2)]}, {"changes": [change(3)]}]}
    news = whatsapp.messages(
        whatsapp.Notification.model_validate({"object": "whatsapp_business_account", **batch}), {"100": 1}, "request"
    )
    assert [message.provider_message_id for message in news.written] == ["wamid.1", "wamid.2", "wamid.3"]
    assert len(news.statuses) == 3

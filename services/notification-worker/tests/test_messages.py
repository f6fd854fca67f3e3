"""Joins by facts: whichever comes first, however often, at the same instant."""

import asyncio
import itertools
from datetime import UTC, date, datetime
from typing import Any

import pytest

from llegada.events.lock import PasscodeIssued
from llegada.events.notification import NotificationReady
from llegada.events.organization import Wording
from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import (
    BookingEvent,
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationContactUpdated,
    ReservationCreated,
    ReservationInvitationDue,
    ReservationPinRequested,
)
from llegada.events.types import Contact, Money, OrganizationId, ReservationId
from llegada.messaging.envelope import Lane, first
from llegada.messaging.failures import Permanent
from llegada.messaging.subscription import Delivered
from llegada.testing.plugin import ServiceDatabase
from notification_worker.handlers import Notifications
from notification_worker.messages import Booking, take
from notification_worker.store import Store
from notification_worker.texts import masked, shown, template_name, template_parameters, written

ORGANIZATION, RESERVATION = OrganizationId(1), ReservationId(17)


def created(**changes: Any) -> ReservationCreated:
    known: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "reservation_id": RESERVATION,
        "guest_name": "Ana <b>Gómez</b>",
        "contact": Contact(phone="+573001234567"),
        "amount": Money(amount=180_000),
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test/check-in/17-x",
    }
    return ReservationCreated.model_validate({**known, **changes})


def linked(intent: int = 1) -> PaymentLinkCreated:
    return PaymentLinkCreated(
        organization_id=ORGANIZATION,
        reservation_id=RESERVATION,
        intent=intent,
        url=f"https://checkout.test/{intent}",
        link_id="LNK",
        reference="r",
        amount=Money(amount=180_000),
        expires_at=datetime.now(UTC),
    )


@pytest.mark.parametrize("order", [(created(), linked()), (linked(), created())])
def test_the_last_fact_completes_the_message_whatever_the_order(order: tuple[Any, Any]) -> None:
    booking = Booking()
    assert take(booking, order[0]) == []
    (ready,) = take(booking, order[1])
    assert ready.payment_url == "https://checkout.test/1"
    assert take(booking, order[0]) == take(booking, order[1]) == []


def test_a_message_does_not_take_an_old_fact() -> None:
    booking = Booking()
    take(booking, linked(1))
    assert take(booking, created(payment_link_intent=2)) == []
    (ready,) = take(booking, linked(2))
    assert ready.payment_url == "https://checkout.test/2"


def test_an_older_fact_does_not_replace_a_newer_one() -> None:
    booking = Booking()
    take(booking, linked(2))
    take(booking, linked(1))
    (ready,) = take(booking, created())
    assert ready.payment_url == "https://checkout.test/2"


@pytest.mark.parametrize(
    ("contact", "channels", "expected"),
    [
        ({"phone": "+573001234567"}, ("whatsapp", "email"), ["whatsapp"]),
        ({"email": "a@b.test"}, ("whatsapp", "email"), ["email"]),
        ({"email": "a@b.test"}, ("whatsapp",), ["email"]),
        ({"phone": "+573001234567", "email": "a@b.test"}, ("whatsapp", "email"), ["whatsapp", "email"]),
        ({"phone": "+573001234567", "email": "a@b.test"}, ("email",), ["email"]),
    ],
)
def test_a_message_leaves_by_the_channels_that_reach_the_guest(
    contact: dict[str, str], channels: tuple[str, ...], expected: list[str]
) -> None:
    booking = Booking()
    take(booking, linked())
    ready = take(booking, created(contact=contact, channels=channels))
    assert [message.channel.value for message in ready] == expected


def test_who_cannot_be_reached_is_said_at_once() -> None:
    with pytest.raises(Permanent, match="none of the channels"):
        take(Booking(), created(channels=("email",)))


async def test_two_facts_at_the_same_instant_send_once(service_database: ServiceDatabase) -> None:
    database = await service_database("notification_worker")
    handlers = Notifications(Store(database), None, None, "a@b.test")  # type: ignore[arg-type] # collect needs neither

    async def collect(event: Any) -> list[NotificationReady]:
        async with database.transaction() as tx:
            envelope = first(event, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None)
            (ready,) = await handlers.collect([Delivered(event, envelope)], tx)
            return ready

    for _ in range(20):
        await database.fetchrow("delete from bookings")
        results = await asyncio.gather(collect(created()), collect(linked()), collect(linked()), collect(created()))
        assert sum(len(found) for found in results) == 1


async def test_a_newer_message_makes_the_older_one_unwanted(service_database: ServiceDatabase) -> None:
    database = await service_database("notification_worker")
    store = Store(database)
    booking = Booking()
    take(booking, linked(2))
    (first,) = take(booking, created())
    take(booking, created(confirmation_intent=2))
    async with database.transaction() as tx:
        await store.locked(tx, {RESERVATION: ORGANIZATION})
        await store.save(tx, {RESERVATION: booking})
    assert (await store.before_sending(first)).unwanted == "a newer message took its place"
    assert (await store.before_sending(first.model_copy(update={"intent": 2}))).unwanted is None


STAY = {"room": "204", "starts_at": "2026-12-01T15:00:00-05:00", "ends_at": "2026-12-03T11:00:00-05:00"}


def coded(intent: int = 1, *codes: str) -> PasscodeIssued:
    locks = [{"lock_id": n, "lock_name": f"Lock {n}", "code": code} for n, code in enumerate(codes or ("482915",), 1)]
    passcodes = [{**lock, "starts_at": STAY["starts_at"], "ends_at": STAY["ends_at"]} for lock in locks]
    return PasscodeIssued.model_validate(
        {"organization_id": 1, "reservation_id": 17, "intent": intent, "passcodes": passcodes}
    )


def cause(cls: type[BookingEvent], **changes: Any) -> Any:
    return cls.model_validate({**created().model_dump(), "stay": STAY, "checked_in_on": "2026-12-01", **changes})


def moved(**changes: Any) -> Any:
    known = {"contact": {"email": "a@b.test"}, "contact_version": 2, "payment_link_intent": 2, "passcode_intent": 1}
    return cause(ReservationContactUpdated, welcome_intent=1, **{**known, **changes})


@pytest.mark.parametrize("order", list(itertools.permutations([moved(), linked(2), coded(1)])))
def test_a_welcome_waits_for_the_new_link_and_the_code_in_any_order(order: tuple[Any, ...]) -> None:
    booking = Booking()
    take(booking, linked(1))
    assert take(booking, order[0]) == take(booking, order[1]) == []
    (ready,) = take(booking, order[2])
    assert (ready.kind, ready.recipient, ready.payment_url) == ("welcome", "a@b.test", "https://checkout.test/2")
    assert [code.code for code in ready.passcodes] == ["482915"]


def test_nothing_more_goes_to_the_old_contact() -> None:
    booking = Booking()
    take(booking, created())
    take(booking, moved())
    assert take(booking, linked(1)) == []


def test_without_a_lock_the_message_names_no_code() -> None:
    booking = Booking()
    (ready,) = take(booking, cause(ReservationCheckedIn, passcode_intent=None, check_in_confirmation_intent=1))
    assert template_name(ready) == "reservation_checkin_welcome"
    assert "code" not in written(ready.model_copy(update={"language": "en"}), Wording()).plain


def test_a_message_that_needs_a_code_does_not_leave_without() -> None:
    booking = Booking()
    take(booking, linked(1))
    arrived = cause(ReservationCheckedIn, passcode_intent=2, check_in_confirmation_intent=1)
    assert take(booking, arrived) == take(booking, coded(1)) == []
    (ready,) = take(booking, coded(2))
    assert ready.passcode_intent == 2


@pytest.mark.parametrize("end", [ReservationCancelled, ReservationCheckedOut])
def test_after_the_end_nothing_is_sent_whatever_arrives(end: Any) -> None:
    booking = Booking()
    now = datetime.now(UTC)
    dates = {"cancelled_at": now, "checked_out_at": now, "checked_out_on": now.date()}
    ended = end.model_validate({"organization_id": 1, "reservation_id": 17, "property_name": "Hostal", **dates})
    take(booking, created())
    assert take(booking, ended) == take(booking, linked()) == []
    assert booking.unwanted(ready()) is not None


def test_a_replaced_code_is_not_sent_any_more() -> None:
    booking = Booking()
    take(booking, cause(ReservationCheckedIn, passcode_intent=1, check_in_confirmation_intent=1))
    (confirmation,) = take(booking, coded(1))
    assert booking.unwanted(confirmation) is None
    take(booking, cause(ReservationPinRequested, passcode_intent=2, pin_intent=1))
    assert "replaced" in str(booking.unwanted(confirmation))


@pytest.mark.parametrize("language", ["es", "en", "de"])
@pytest.mark.parametrize(
    ("cls", "more"),
    [
        (ReservationContactUpdated, {"payment_link_intent": 1, "passcode_intent": 1, "welcome_intent": 1}),
        (ReservationCheckedIn, {"passcode_intent": 1, "check_in_confirmation_intent": 1}),
        (ReservationPinRequested, {"passcode_intent": 1, "pin_intent": 1}),
        (ReservationInvitationDue, {"payment_link_intent": 1, "invitation_intent": 1}),
    ],
)
def test_every_message_has_its_words_in_every_language(cls: type[BookingEvent], more: Any, language: str) -> None:
    booking = Booking()
    take(booking, linked())
    take(booking, coded(1, "482915", "77120"))
    (ready,) = take(booking, cause(cls, language=language, **more))
    texts = written(ready, Wording())
    assert "Hostal" in texts.subject + texts.plain
    assert "{{" not in texts.plain
    assert all(template_parameters(ready))
    if "passcode_intent" in more:
        assert "Lock 1: 482915, Lock 2: 77120" in texts.plain
        assert "482915" not in masked(texts.plain, ready)
    if "payment_link_intent" in more:
        assert "https://checkout.test/1" in texts.plain


def test_staffs_own_words_are_filled_in() -> None:
    booking = Booking()
    take(booking, linked())
    own = "Hola {{guestName}}, {{ checkInLink }} {{paymentLink}}"
    event = cause(ReservationInvitationDue, payment_link_intent=1, invitation_intent=1, custom_message=own)
    (ready,) = take(booking, event)
    assert written(ready, Wording()).plain.endswith("https://desk.test/check-in/17-x https://checkout.test/1")


def ready(**changes: Any) -> NotificationReady:
    booking = Booking()
    take(booking, linked())
    return take(booking, created(**changes))[0]


@pytest.mark.parametrize(("language", "words"), [("es", "Te esperamos"), ("en", "See you soon"), ("de", "freuen uns")])
def test_the_confirmation_says_what_the_guest_needs(language: str, words: str) -> None:
    texts = written(ready(language=language), Wording())
    for part in (words, "Hostal", "https://checkout.test/1", "https://desk.test/check-in/17-x"):
        assert part in texts.plain
    assert "180.000 COP" in texts.plain or "180,000 COP" in texts.plain
    assert '<a href="https://checkout.test/1"' in texts.html
    assert "<b>" not in texts.html
    assert "Hostal" in texts.subject


def test_a_wording_with_an_unknown_name_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(Permanent, match="guestName") as refused:
        written(ready(), Wording(text="Hola {{nombre}}"))
    assert refused.value.advice


def test_a_wording_cannot_reach_into_the_process() -> None:
    with pytest.raises(Permanent):
        written(ready(), Wording(text="{{ ''.__class__.__mro__ }}"))


def test_amounts_are_grouped_as_readers_expect() -> None:
    assert shown(Money(amount=1_234_567), "es") == "1.234.567 COP"
    assert shown(Money(amount=1_234_567), "en") == "1,234,567 COP"


def test_who_has_checked_in_is_not_invited_any_more() -> None:
    booking = Booking()
    take(booking, linked())
    (invited,) = take(booking, cause(ReservationInvitationDue, payment_link_intent=1, invitation_intent=1))
    assert booking.unwanted(invited) is None
    take(booking, cause(ReservationCheckedIn, passcode_intent=None, check_in_confirmation_intent=1))
    assert booking.unwanted(invited) == "the guest has checked in already"

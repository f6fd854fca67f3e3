"""Joins by facts: whichever comes first, however often, at the same instant."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest

from llegada.events.notification import NotificationReady
from llegada.events.organization import Wording
from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import ReservationCreated
from llegada.events.types import Contact, Money, OrganizationId, ReservationId
from llegada.messaging.envelope import Lane, first
from llegada.messaging.failures import Permanent
from llegada.messaging.subscription import Delivered
from llegada.testing.plugin import ServiceDatabase
from notification_worker.handlers import Notifications
from notification_worker.messages import Booking, take
from notification_worker.store import Store
from notification_worker.texts import shown, written

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
    assert (await store.before_sending(first)).outdated
    assert not (await store.before_sending(first.model_copy(update={"intent": 2}))).outdated


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

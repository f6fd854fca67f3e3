"""A guest writes: what is answered, what a person has to answer, and what receipts mean."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from llegada.events.guest import GuestMessageHandedOver, GuestMessageReceived, GuestReplyReady
from llegada.events.notification import NotificationFailed, NotificationReady, NotificationSent, NotificationStatus
from llegada.events.organization import OrganizationConfigured, Reply
from llegada.events.reservation import ReservationCreated, ReservationInvitationDue
from llegada.messaging.effects import NotWanted
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from llegada.testing.plugin import ServiceDatabase
from notification_worker.conversation import Answer, HandOver, respond
from notification_worker.handlers import Notifications
from notification_worker.store import Store
from notification_worker.texts import template_name

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
RULES = [
    Reply(keywords=("wifi", "internet"), texts={"es": "La clave es 1234", "en": "The key is 1234"}),
    Reply(keywords=("a qué hora",), texts={"es": "Desde las 15:00, {{guestName}}: {{checkInLink}}"}),
]


def written(text: str | None = "¿Hay WIFI?", **changes: Any) -> GuestMessageReceived:
    known = {"organization_id": 1, "reservation_id": 17, "provider_message_id": "wamid.1", "phone": "+573001234567"}
    return GuestMessageReceived.model_validate({**known, "text": text, "at": NOW, "name": "Ana", **changes})


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("¿Hay WIFI?", "La clave es 1234"),
        ("internet por favor", "La clave es 1234"),
        ("A que hora puedo llegar", "Desde las 15:00, {{guestName}}: {{checkInLink}}"),
        ("wifis", None),
        ("Hola", None),
        (None, None),
    ],
)
def test_the_first_rule_with_a_whole_word_answers(text: str | None, answer: str | None) -> None:
    found = respond(written(text), "es", RULES)
    assert (found.text if isinstance(found, Answer) else None) == answer
    assert isinstance(found, HandOver) == (answer is None)


def test_the_guests_language_is_answered_or_the_next_best() -> None:
    english, german = respond(written("wifi"), "en", RULES), respond(written("wifi"), "de", RULES)
    assert isinstance(english, Answer)
    assert isinstance(german, Answer)
    assert (english.text, german.text) == ("The key is 1234", "La clave es 1234")


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("notification_worker")


@pytest.fixture
def handlers(database: Database) -> Notifications:
    return Notifications(Store(database), None, None, "a@b.test")  # type: ignore[arg-type] # nothing is sent here


async def configure(handlers: Notifications, database: Database) -> None:
    event = OrganizationConfigured.model_validate(
        {"organization_id": 1, "revision": 1, "name": "Hostal", "time_zone": "America/Bogota", "replies": RULES}
    )
    async with database.transaction() as tx:
        await handlers.remember_organization(event, tx)


def booked(cls: Any = ReservationCreated, **changes: Any) -> Any:
    known = {
        "organization_id": 1,
        "reservation_id": 17,
        "guest_name": "Ana",
        "contact": {"phone": "+573001234567", "email": "a@b.test"},
        "channels": ["whatsapp"],
        "amount": {"amount": 180_000},
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test/17",
    }
    return cls.model_validate({**known, **changes})


async def collect(handlers: Notifications, database: Database, *events: Any) -> list[NotificationReady]:
    batch = [
        Delivered(e, first(e, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))
        for e in events
    ]
    async with database.transaction() as tx:
        return [ready for found in await handlers.collect(batch, tx) for ready in found]


async def hear(handlers: Notifications, database: Database, event: GuestMessageReceived) -> Any:
    async with database.transaction() as tx:
        return await handlers.note_message(event, tx)


async def test_an_answer_knows_the_booking_and_ends_with_the_window(
    handlers: Notifications, database: Database
) -> None:
    await configure(handlers, database)
    await collect(handlers, database, booked())
    ready = await hear(handlers, database, written("a qué hora?"))
    assert isinstance(ready, GuestReplyReady)
    assert ready.text == "Desde las 15:00, Ana: https://desk.test/17"
    assert ready.until == NOW + timedelta(hours=24)


async def test_what_needs_a_booking_is_handed_over_where_there_is_none(
    handlers: Notifications, database: Database
) -> None:
    await configure(handlers, database)
    handed = await hear(handlers, database, written("a qué hora?", reservation_id=None))
    assert isinstance(handed, GuestMessageHandedOver)
    assert "needs a booking" in handed.reason


async def test_writing_opens_the_window_and_an_older_message_does_not_close_it(
    handlers: Notifications, database: Database
) -> None:
    (ready,) = await collect(handlers, database, booked(ReservationInvitationDue, invitation_intent=1))
    store = Store(database)
    assert not (await store.before_sending(ready)).window_open
    now = datetime.now(UTC)
    await hear(handlers, database, written("Hola", at=now - timedelta(hours=1)))
    await hear(handlers, database, written("Hola", provider_message_id="wamid.0", at=now - timedelta(hours=30)))
    assert (await store.before_sending(ready)).window_open


async def test_who_wrote_stop_gets_no_invitation_until_start(handlers: Notifications, database: Database) -> None:
    (ready,) = await collect(handlers, database, booked(ReservationInvitationDue, invitation_intent=1))
    confirmed = await hear(handlers, database, written("STOP"))
    assert "ALTA" in confirmed.text
    refused = await handlers.send(ready).still_wanted()
    assert isinstance(refused, NotWanted)
    assert await handlers.send(ready.model_copy(update={"kind": "pin"})).still_wanted() is None
    await hear(handlers, database, written("alta"))
    assert await handlers.send(ready).still_wanted() is None


def told(status: str, code: str | None = None, kind: str = "invitation") -> NotificationStatus:
    return NotificationStatus.model_validate(
        {
            "organization_id": 1,
            "provider_message_id": "wamid.out",
            "own_key": f"reservation-17-{kind}-whatsapp-1-1-6a2f",
            "status": status,
            "at": NOW,
            "error_code": code,
            "error": "Undeliverable",
        }
    )


async def note(handlers: Notifications, database: Database, *events: NotificationStatus) -> list[Any]:
    batch = [
        Delivered(e, first(e, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))
        for e in events
    ]
    async with database.transaction() as tx:
        return [said for said in await handlers.note_status(batch, tx) if said is not None]


async def test_each_step_forward_is_told_once_whatever_the_order(handlers: Notifications, database: Database) -> None:
    said = await note(handlers, database, told("sent"), told("read"), told("delivered"), told("read"))
    assert [event.type for event in said] == ["notification.read"]
    assert await note(handlers, database, told("delivered"), told("read")) == []


async def test_a_late_failure_without_another_channel_reopens_the_step(
    handlers: Notifications, database: Database
) -> None:
    contact = {"phone": "+573001234567"}
    await collect(handlers, database, booked(ReservationInvitationDue, invitation_intent=1, contact=contact))
    (failed,) = await note(handlers, database, told("failed", "131026"))
    assert isinstance(failed, NotificationFailed)
    report = failed.report()
    assert report is not None
    assert (report.step, report.state.value) == ("invitation", "failed")
    assert "no WhatsApp" in (report.reason or "")


async def test_who_turns_out_to_have_no_whatsapp_gets_the_e_mail_instead(
    handlers: Notifications, database: Database
) -> None:
    await collect(handlers, database, booked(ReservationInvitationDue, invitation_intent=1))
    (ready,) = await note(handlers, database, told("failed", "131026"))
    assert isinstance(ready, NotificationReady)
    assert (ready.channel.value, ready.recipient) == ("email", "a@b.test")


def test_a_paid_booking_is_not_asked_to_pay() -> None:
    ready = NotificationReady.model_validate(
        {**booked().model_dump(), "kind": "invitation", "channel": "whatsapp", "recipient": "+573001234567"}
    )
    assert template_name(ready) == "reservation_checkin_reminder"
    assert NotificationSent.type == "notification.sent"

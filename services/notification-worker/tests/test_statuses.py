"""What an attempt without an answer did is found out by status webhooks, before anything is sent again."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from llegada.events.notification import NotificationReady, NotificationStatus
from llegada.events.types import Channel, Money, OrganizationId, ReservationId
from llegada.messaging.effects import Attempt, Found, SendAgain
from llegada.messaging.envelope import Lane, first
from llegada.messaging.failures import NotYetKnown
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from llegada.testing.plugin import ServiceDatabase
from notification_worker.handlers import Notifications, WhatsAppMessage
from notification_worker.store import Store

GRACE = timedelta(seconds=60)
READY = NotificationReady(
    organization_id=OrganizationId(1),
    reservation_id=ReservationId(17),
    kind="confirmation",
    channel=Channel.WHATSAPP,
    recipient="+573001234567",
    language="es",
    guest_name="Ana",
    property_name="Hostal",
    amount=Money(amount=180_000),
    check_in_date=datetime(2026, 12, 1, tzinfo=UTC).date(),
    check_out_date=datetime(2026, 12, 3, tzinfo=UTC).date(),
    check_in_url="https://desk.test/check-in/17-x",
    payment_url="https://checkout.test/1",
)


@pytest.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("notification_worker")


def status(name: str, key: str | None = "key-1") -> NotificationStatus:
    return NotificationStatus.model_validate(
        {
            "organization_id": 1,
            "provider_message_id": "wamid.1",
            "own_key": key,
            "status": name,
            "at": datetime(2026, 12, 1, tzinfo=UTC),
        }
    )


async def told(database: Database, *events: NotificationStatus) -> None:
    handlers = Notifications(Store(database), None, None, "a@b.test")  # type: ignore[arg-type] # statuses need neither
    batch = [
        Delivered(e, first(e, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))
        for e in events
    ]
    async with database.transaction() as tx:
        await handlers.note_status(batch, tx)


async def look_up(database: Database, *, seconds_ago: float = 0) -> Any:
    message = WhatsAppMessage(READY, Store(database), None, GRACE)  # type: ignore[arg-type] # nothing is sent
    assert await message.still_wanted() is None
    doubted = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return await message.look_up(Attempt(3, "key-3", doubted, ("key-1", "key-2"), doubted))


@pytest.mark.parametrize("known", ["sent", "delivered", "read"])
async def test_a_message_that_arrived_is_found_and_not_sent_again(database: Database, known: str) -> None:
    await told(database, status(known))
    answer = await look_up(database)
    assert isinstance(answer, Found)
    sent = answer.event.model_dump()
    assert sent["provider_message_id"] == "wamid.1"
    assert sent["template"] == "reservation_checkin_invitation"
    assert "https://checkout.test/1" in sent["text"]


async def test_a_message_that_failed_is_sent_again(database: Database) -> None:
    await told(database, status("failed"))
    assert isinstance(await look_up(database), SendAgain)


async def test_while_whatsapp_may_still_tell_nothing_is_sent(database: Database) -> None:
    for ago, least, most in ((0, 2, 2), (20, 20, 21), (50, 9, 10)):
        with pytest.raises(NotYetKnown) as caught:
            await look_up(database, seconds_ago=ago)
        assert timedelta(seconds=least) <= caught.value.retry_after <= timedelta(seconds=most)


async def test_after_the_grace_time_the_policy_decides(database: Database) -> None:
    await told(database, status("delivered", key="another"), status("delivered", key=None))
    answer = await look_up(database, seconds_ago=61)
    assert isinstance(answer, SendAgain)
    assert "may double" in answer.reason


@pytest.mark.parametrize("seed", range(10))
async def test_the_same_batch_in_any_order_gives_the_same_statuses(database: Database, seed: int) -> None:
    best = {"key-1": "read", "key-2": "failed", "key-3": "delivered", "key-4": "sent"}
    ranked = ["sent", "failed", "delivered", "read"]
    batch = [status(name, key) for key, last in best.items() for name in ranked[: ranked.index(last) + 1]] * 2
    source = random.Random(seed)
    source.shuffle(batch)
    while batch:
        size = source.randint(1, 5)
        await told(database, *batch[:size])
        batch = batch[size:]
    for key, last in best.items():
        found = await Store(database).told([key])
        assert found is not None
        assert found.status == last


@pytest.mark.parametrize(
    "order", [["sent", "delivered", "failed"], ["failed", "delivered", "sent"], ["delivered", "delivered", "sent"]]
)
@pytest.mark.parametrize("together", [True, False])
async def test_statuses_only_go_up_in_any_order(database: Database, order: list[str], together: bool) -> None:
    events = [status(name) for name in order]
    for batch in [events] if together else [[event] for event in events]:
        await told(database, *batch)
    found = await Store(database).told(["key-1"])
    assert found is not None
    assert found.status == "delivered"

"""What is not urgent waits while guests sleep: until the local hour, once told, in its place, without attempts."""

import json
import typing
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from llegada.events.notification import NotificationReady
from llegada.events.organization import OrganizationConfigured, QuietHours
from llegada.messaging.delivery import Consumer
from llegada.messaging.envelope import Envelope, Lane, first, read
from llegada.messaging.failures import RateLimited
from llegada.messaging.gate import Way
from llegada.messaging.transaction import Database
from llegada.testing.plugin import ServiceDatabase
from notification_worker.handlers import Notifications
from notification_worker.messages import Cause
from notification_worker.quiet import URGENT, ends
from notification_worker.service import service
from notification_worker.store import Store

NIGHT, NOON = QuietHours(start=time(22), end=time(8)), QuietHours(start=time(13), end=time(15))
SEND = next(subscription for subscription in service.subscriptions if subscription.action == "send")
EVENING = datetime(2026, 12, 1, 3, 30, tzinfo=UTC)
"""22:30 in Bogotá."""
MORNING = datetime(2026, 12, 1, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "zone", "quiet", "end"),
    [
        (EVENING, "America/Bogota", NIGHT, "2026-12-01T08:00:00-05:00"),
        (datetime(2026, 12, 1, 12, 59, 59, tzinfo=UTC), "America/Bogota", NIGHT, "2026-12-01T08:00:00-05:00"),
        (MORNING, "America/Bogota", NIGHT, None),
        (datetime(2026, 12, 1, 2, 59, 59, tzinfo=UTC), "America/Bogota", NIGHT, None),
        (datetime(2026, 12, 1, 3, 0, tzinfo=UTC), "America/Bogota", NIGHT, "2026-12-01T08:00:00-05:00"),
        (datetime(2026, 12, 1, 18, 0, tzinfo=UTC), "America/Bogota", NOON, "2026-12-01T15:00:00-05:00"),
        (datetime(2026, 12, 1, 20, 0, tzinfo=UTC), "America/Bogota", NOON, None),
        # The night of 28 to 29 March 2026 has an hour less in Madrid, that of 24 to 25 October one more.
        (datetime(2026, 3, 28, 21, 0, tzinfo=UTC), "Europe/Madrid", NIGHT, "2026-03-29T08:00:00+02:00"),
        (datetime(2026, 3, 29, 5, 59, tzinfo=UTC), "Europe/Madrid", NIGHT, "2026-03-29T08:00:00+02:00"),
        (datetime(2026, 3, 29, 6, 0, tzinfo=UTC), "Europe/Madrid", NIGHT, None),
        (datetime(2026, 10, 24, 20, 0, tzinfo=UTC), "Europe/Madrid", NIGHT, "2026-10-25T08:00:00+01:00"),
        (datetime(2026, 10, 25, 6, 59, tzinfo=UTC), "Europe/Madrid", NIGHT, "2026-10-25T08:00:00+01:00"),
        (datetime(2026, 10, 25, 7, 0, tzinfo=UTC), "Europe/Madrid", NIGHT, None),
        (EVENING, "America/Bogota", None, None),
        (EVENING, "America/Bogota", QuietHours(start=time(8), end=time(8)), None),
    ],
)
def test_quiet_hours_are_local_and_may_go_over_midnight(
    now: datetime, zone: str, quiet: QuietHours | None, end: str | None
) -> None:
    found = ends(now, ZoneInfo(zone), quiet)
    assert (found and found.isoformat()) == end


def test_an_end_that_the_clock_leaves_out_comes_an_hour_later() -> None:
    quiet = QuietHours(start=time(22), end=time(2, 30))
    found = ends(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), ZoneInfo("Europe/Madrid"), quiet)
    assert found == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_every_message_is_in_the_table() -> None:
    assert set(URGENT) == {cause.message for cause in typing.get_args(Cause)}


def ready(**changes: Any) -> NotificationReady:
    known = {
        "organization_id": 1,
        "reservation_id": 17,
        "kind": "invitation",
        "channel": "whatsapp",
        "recipient": "+573001234567",
        "language": "es",
        "guest_name": "Ana",
        "property_name": "Hostal",
        "amount": {"amount": 180_000},
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "check_in_url": "https://desk.test/17",
    }
    return NotificationReady.model_validate({**known, **changes})


class Phone:
    """WhatsApp, as far as it is asked here."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.trouble: list[Exception] = []

    def way(self, _organization: int, _recipient: str) -> Way:
        return Way("whatsapp", "1")

    async def send_template(self, _organization: int, to: str, *_rest: object) -> str:
        if self.trouble:
            raise self.trouble.pop()
        self.sent.append(to)
        return "wamid.1"


class Night:
    """The real subscription on a real database, at an hour that the test sets."""

    def __init__(self, database: Database) -> None:
        self.now, self.phone, self.database = EVENING, Phone(), database
        sender: Any = self.phone
        mailer: Any = None
        self.handlers = Notifications(Store(database), sender, mailer, "a@b.test", now=lambda: self.now)
        self.consumer = Consumer("notification-worker", SEND, self.handlers, database)

    async def configure(self, quiet: QuietHours | None, revision: int = 1, zone: str = "America/Bogota") -> None:
        known = {"organization_id": 1, "revision": revision, "name": "Hostal", "time_zone": zone}
        async with self.database.transaction() as tx:
            event = OrganizationConfigured.model_validate({**known, "quiet_hours": quiet})
            await self.handlers.remember_organization(event, tx)

    async def deliver(self, event: NotificationReady, envelope: Envelope) -> list[dict[str, Any]]:
        """What the delivery left in the outbox."""
        await self.database.fetchrow("delete from outbox")
        await self.consumer.deliver(envelope, event.model_dump_json().encode())
        return await self.rows("select * from outbox order by id")

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(statement)]


@pytest.fixture
async def night(service_database: ServiceDatabase) -> Night:
    made = Night(await service_database("notification_worker"))
    await made.configure(NIGHT)
    return made


def enveloped(event: NotificationReady) -> Envelope:
    return first(event, source="tests", correlation_id="1", lane=Lane.BULK, traceparent=None)


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in rows if row["type"] == "job.retrying"]


def again(rows: list[dict[str, Any]], envelope: Envelope) -> Envelope:
    """The envelope that comes back from the rung."""
    (row,) = (row for row in rows if row["type"] == "notification.ready")
    return read(envelope.id, envelope.type, "tests", "1", row["properties"]["headers"])


async def test_an_invitation_waits_until_the_morning_and_then_leaves_once(night: Night) -> None:
    event = ready()
    envelope = enveloped(event)
    rows = await night.deliver(event, envelope)
    (said,) = told(rows)
    assert said["reason"] == "It waits for 08:00: quiet hours."
    assert datetime.fromisoformat(said["next_try_at"]) == MORNING
    assert said["advice"]
    passes, tellings = 0, 1
    while not night.phone.sent:
        envelope = again(rows, envelope)
        waited = next(r for r in rows if r["type"] == "notification.ready")
        night.now += timedelta(seconds=int(waited["exchange"].rpartition(".")[2].removesuffix("s")))
        rows = await night.deliver(event, envelope)
        passes, tellings = passes + 1, tellings + len(told(rows))
    assert envelope.attempt == 0, "waiting uses up no attempt"
    assert tellings == 1, "staff are told once"
    assert MORNING <= night.now < MORNING + timedelta(seconds=2)
    assert passes < 30
    (effect,) = await night.rows("select attempt, state from effects")
    assert (effect["attempt"], effect["state"]) == (1, "done")


@pytest.mark.parametrize("kind", sorted(kind for kind, urgent in URGENT.items() if urgent))
async def test_what_a_guest_waits_for_goes_at_any_hour(night: Night, kind: str) -> None:
    event = ready(kind=kind)
    await night.deliver(event, enveloped(event))
    assert night.phone.sent


async def test_waiting_takes_no_slot_of_the_provider_and_no_row_of_the_ledger(night: Night) -> None:
    event = ready()
    await night.deliver(event, enveloped(event))
    assert await night.rows("select * from effects") == []
    assert await night.rows("select * from slots") == []
    assert await night.rows("select * from rate_limits") == []


async def test_other_quiet_hours_count_from_the_next_look_on_and_are_told(night: Night) -> None:
    event = ready()
    envelope = enveloped(event)
    rows = await night.deliver(event, envelope)
    await night.configure(QuietHours(start=time(22), end=time(7)), revision=2)
    rows = await night.deliver(event, envelope := again(rows, envelope))
    assert [said["reason"] for said in told(rows)] == ["It waits for 07:00: quiet hours."]
    await night.configure(None, revision=3)
    await night.deliver(event, again(rows, envelope))
    assert night.phone.sent


async def test_in_the_morning_what_is_stale_is_skipped_and_what_is_too_old_is_given_up(night: Night) -> None:
    event = ready()
    old = replace(enveloped(event), time=datetime.now(UTC) - timedelta(hours=30))
    rows = await night.deliver(event, old)
    assert [said["reason"] for said in told(rows)] == ["It waits for 08:00: quiet hours."], "not while it waits"
    night.now = MORNING
    night.phone.trouble = [RateLimited("later", retry_after=timedelta(seconds=5))]
    rows = await night.deliver(event, again(rows, old))
    assert rows[0]["type"] == "job.failed"

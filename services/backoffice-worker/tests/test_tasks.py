"""One task per rule and cause, whatever is repeated and in whatever order; tasks follow their booking."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from backoffice_worker.handlers import BackOffice
from backoffice_worker.rendering import Typesetter
from backoffice_worker.store import Store
from llegada.events.event import Event
from llegada.events.job import JobFailed, JobSkipped
from llegada.events.organization import OrganizationConfigured
from llegada.events.payment import PaymentSettled
from llegada.events.reservation import (
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationCreated,
)
from llegada.events.sire import SireFilingPrepared, SireRegistered, SireSubmissionReady
from llegada.events.task import TaskCreated, TaskEvent, TaskFollowed, TaskRulesConfigured
from llegada.messaging.transaction import Database
from llegada.testing.plugin import ServiceDatabase

NOW = datetime.now(UTC)


@pytest_asyncio.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("backoffice_worker")


class Office:
    """The handlers, each delivery in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.handlers = BackOffice(Store(database), Typesetter(1))

    async def take(self, event: Event) -> list[Any]:
        handlers = {
            OrganizationConfigured: self.handlers.remember_organization,
            TaskRulesConfigured: self.handlers.remember_rules,
            JobFailed: self.handlers.note_failure,
            SireFilingPrepared: self.handlers.note_filing,
            SireSubmissionReady: self.handlers.note_filing,
            SireRegistered: self.handlers.note_filing,
            JobSkipped: self.handlers.note_filing,
        }
        handler: Any = handlers.get(type(event), self.handlers.follow_booking)
        async with self._database.transaction() as tx:
            return await handler(event, tx) or []

    async def remind(self, now: datetime = NOW) -> list[TaskCreated]:
        async with self._database.transaction() as tx:
            return await self.handlers.remind(tx, now)


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database)


def booking(kind: type[Event], **changes: Any) -> Event:
    known = {
        "organization_id": 1,
        "reservation_id": 17,
        "guest_name": "Ana Gómez",
        "contact": {"phone": "+573001234567"},
        "amount": {"amount": 1000},
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test",
        "stay": {"starts_at": NOW, "ends_at": NOW, "room": "204"},
        "check_in_confirmation_intent": 1,
        "checked_in_on": NOW.date(),
        "checked_out_at": NOW,
        "checked_out_on": NOW.date(),
        "cancelled_at": NOW,
    }
    return kind.model_validate({**known, **changes})


def paid(amount: int, revision: int = 1) -> PaymentSettled:
    about = {"organization_id": 1, "reservation_id": 17, "payment_id": "P1", "asked": 1000, "paid": amount}
    more = {"payment_status": "paid" if amount >= 1000 else "partially_paid", "revision": revision, "at": NOW}
    return PaymentSettled.model_validate({**about, **more, "amount": amount})


def filed(kind: type[Event], due_at: datetime = NOW + timedelta(hours=2), movement: str = "entry") -> Event:
    known = {"organization_id": 1, "reservation_id": 17, "movement": movement, "moved_on": NOW.date(), "guests": 1}
    return kind.model_validate({**known, "due_at": due_at, "channel": "file", "registered_at": NOW, "rows": []})


def made(events: list[Any]) -> dict[str, TaskEvent]:
    return {event.rule: event for event in events}


async def test_a_booking_makes_its_task_once_however_often_it_arrives(office: Office) -> None:
    first = await office.take(booking(ReservationCreated))
    assert [(task.rule, task.title["es"], task.role) for task in first] == [
        ("check_in", "Check-in: Ana Gómez - 2026-12-01", "Recepción")
    ]
    assert first[0].due_at == datetime(2026, 12, 1, 20, tzinfo=UTC), "15:00 in Bogotá"
    assert await office.take(booking(ReservationCreated)) == []


async def test_a_task_follows_its_booking_once(office: Office) -> None:
    await office.take(booking(ReservationCreated))
    events = made(await office.take(booking(ReservationCheckedIn)))
    assert (events["check_in"].type, events["check_in"].status) == ("task.followed", "done")
    assert events["check_in"].revision == 2
    assert events["unpaid_at_arrival"].status == "open"
    assert await office.take(booking(ReservationCheckedIn)) == []


async def test_a_booking_that_arrives_after_its_check_in_has_its_task_done(office: Office) -> None:
    await office.take(booking(ReservationCheckedIn))
    late = made(await office.take(booking(ReservationCreated)))
    assert late["check_in"].status == "done"


async def test_who_has_paid_is_not_asked_to_pay_and_who_pays_later_closes_the_task(office: Office) -> None:
    await office.take(paid(1000))
    assert "unpaid_at_arrival" not in made(await office.take(booking(ReservationCheckedIn)))
    other = booking(ReservationCheckedIn, reservation_id=18)
    assert "unpaid_at_arrival" in made(await office.take(other))
    settled = paid(1000).model_copy(update={"reservation_id": 18})
    followed = made(await office.take(settled))["unpaid_at_arrival"]
    assert isinstance(followed, TaskFollowed)
    assert (followed.status, followed.because) == ("done", "paid")


async def test_a_part_of_the_money_leaves_the_task_open(office: Office) -> None:
    await office.take(booking(ReservationCheckedIn))
    assert await office.take(paid(400)) == []


async def test_a_room_is_cleaned_after_check_out_and_somebody_looks(office: Office) -> None:
    await office.take(booking(ReservationCheckedIn))
    cleaning = made(await office.take(booking(ReservationCheckedOut)))["cleaning"]
    assert cleaning.title["de"] == "Reinigung: Zimmer 204 (Ana Gómez)"
    assert cleaning.quality_control
    assert cleaning.due_at == NOW + timedelta(hours=4)


async def test_a_cancelled_booking_needs_no_check_in(office: Office) -> None:
    await office.take(booking(ReservationCreated))
    assert made(await office.take(booking(ReservationCancelled)))["check_in"].status == "done"


async def test_a_failed_job_is_one_task_that_leads_to_its_booking(office: Office) -> None:
    failed = JobFailed.model_validate(
        {
            "organization_id": 1,
            "reservation_id": 17,
            "job": "payment-worker.create-link",
            "step_name": "paymentLink",
            "intent": 1,
            "cause_type": "reservation.created",
            "reason": "the key is refused",
            "attempt": 3,
            "attempts": 3,
            "error_class": "credentials",
        }
    )
    [task] = await office.take(failed)
    assert (task.reservation_id, "the key is refused" in task.title["en"]) == (17, True)
    assert await office.take(failed.model_copy(update={"pass_number": 4})) == []
    assert len(await office.take(failed.model_copy(update={"intent": 2}))) == 1


async def test_a_deadline_makes_its_task_when_it_is_near_and_only_then_and_once(office: Office) -> None:
    await office.take(filed(SireFilingPrepared, NOW + timedelta(hours=20)))
    assert await office.remind() == []
    [task] = await office.remind(NOW + timedelta(hours=15))
    assert (task.rule, task.due_at) == ("sire_deadline", NOW + timedelta(hours=20))
    assert await office.remind(NOW + timedelta(hours=15)) == []
    other = await office.take(filed(SireRegistered, movement="exit"))
    assert other == [], "the exit's registration says nothing about the entry's"
    assert made(await office.take(filed(SireRegistered)))["sire_deadline"].status == "done"


async def test_what_was_registered_in_time_makes_no_task(office: Office) -> None:
    await office.take(filed(SireFilingPrepared))
    await office.take(filed(SireRegistered))
    assert await office.remind() == []


@pytest.mark.parametrize(("job", "reminded"), [("sire-worker", 0), ("sire-worker.submit", 1)])
async def test_a_guest_who_turned_out_to_be_colombian_has_no_deadline(office: Office, job: str, reminded: int) -> None:
    """A job that skips has another reason: a newer wish took its place."""
    known = {"organization_id": 1, "reservation_id": 17, "step_name": "sire", "intent": 2}
    await office.take(filed(SireFilingPrepared))
    about = {"cause_type": "sire.registration_requested", "reason": "every guest is Colombian"}
    assert await office.take(JobSkipped.model_validate({**known, **about, "job": job})) == []
    assert len(await office.remind()) == reminded


async def test_what_a_gateway_files_has_a_deadline_too(office: Office) -> None:
    await office.take(filed(SireSubmissionReady))
    assert len(await office.remind()) == 1


async def test_an_organizations_own_rules_replace_the_defaults_and_the_newest_win(office: Office) -> None:
    rule = {"key": "towels", "on": "reservation.checked_in", "role": "Limpieza", "title": {"es": "Toallas: {{room}}"}}
    new = TaskRulesConfigured.model_validate({"organization_id": 1, "revision": 2, "rules": [rule]})
    old = TaskRulesConfigured.model_validate({"organization_id": 1, "revision": 1, "rules": []})
    await office.take(new)
    await office.take(old)
    assert await office.take(booking(ReservationCreated)) == []
    [task] = await office.take(booking(ReservationCheckedIn))
    assert task.title == {"es": "Toallas: 204"}
    stranger = await office.take(booking(ReservationCreated, organization_id=2))
    assert [event.rule for event in stranger] == ["check_in"]


async def test_deadlines_that_were_told_of_do_not_stand_before_those_that_were_not(
    office: Office, database: Database
) -> None:
    await database.fetchrow(
        "insert into deadlines (organization_id, reservation_id, movement, due_at, told)"
        " select 2, n, 'entry', now() - interval '1 day', '{sire_deadline}' from generate_series(1000, 1600) n"
    )
    await office.take(filed(SireFilingPrepared, datetime.now(UTC) + timedelta(hours=2)))
    assert [task.reservation_id for task in await office.remind(datetime.now(UTC))] == [17]

"""Each movement of each document is filed once, whatever is repeated; results go back to the booking."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from llegada.events.job import JobFailed, JobSkipped
from llegada.events.organization import OrganizationConfigured
from llegada.events.reservation import ReservationCheckedIn, ReservationCheckedOut
from llegada.events.sire import (
    SireFilingPrepared,
    SireRefused,
    SireRegistered,
    SireRegistrationRequested,
    SireResultRecorded,
)
from llegada.messaging.failures import Transient
from llegada.messaging.transaction import Database
from llegada.runtime.http import ProviderClient
from llegada.testing.plugin import ServiceDatabase
from sire_worker.gateway import Gateway
from sire_worker.handlers import Registrations
from sire_worker.store import Store

NOW = datetime.now(UTC)
GUEST = {
    "nationality": "DE",
    "document_type": "passport",
    "document_number": "C01X00T47",
    "first_surname": "Muster",
    "first_names": "Erika",
    "birth_date": date(1990, 2, 1),
}


@pytest_asyncio.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("sire_worker")


@pytest_asyncio.fixture
async def registrations(database: Database) -> Registrations:
    made = Registrations(Store(database), Gateway(ProviderClient("sire", ""), {}))
    known = {"organization_id": 1, "revision": 1, "name": "Hostal", "time_zone": "America/Bogota"}
    sire = {"hotel_code": "12345", "city_code": "5001"}
    async with database.transaction() as tx:
        await made.remember_organization(OrganizationConfigured.model_validate({**known, "sire": sire}), tx)
    return made


def came(guests: Any = (GUEST,), intent: int | None = 1, **changes: Any) -> ReservationCheckedIn:
    known = {
        "organization_id": 1,
        "reservation_id": 17,
        "guest_name": "Erika",
        "contact": {"phone": "+573001234567"},
        "amount": {"amount": 1000},
        "check_in_date": NOW.date(),
        "check_out_date": NOW.date() + timedelta(days=2),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test",
        "stay": {"starts_at": NOW, "ends_at": NOW},
        "check_in_confirmation_intent": 1,
        "sire_intent": intent,
        "checked_in_on": NOW.date(),
        "guests": guests,
    }
    return ReservationCheckedIn.model_validate({**known, **changes})


async def enter(registrations: Registrations, database: Database, event: ReservationCheckedIn) -> Any:
    async with database.transaction() as tx:
        return await registrations.file_entry(event, tx)


async def again(registrations: Registrations, database: Database, intent: int, guests: Any = (GUEST,)) -> Any:
    event = SireRegistrationRequested.model_validate(
        {
            "organization_id": 1,
            "reservation_id": 17,
            "movement": "entry",
            "intent": intent,
            "property_name": "Hostal",
            "moved_on": NOW.date(),
            "guests": guests,
        }
    )
    async with database.transaction() as tx:
        return await registrations.file(event, tx)


async def record(registrations: Registrations, database: Database, prepared: SireFilingPrepared, result: str) -> Any:
    event = SireResultRecorded.model_validate(
        {
            "organization_id": 1,
            "reservation_id": 17,
            "movement": prepared.movement,
            "intent": prepared.intent,
            "file_number": 1,
            "keys": [row.key for row in prepared.rows],
            "result": result,
            "reason": "el codigo de nacionalidad no existe" if result == "rejected" else None,
        }
    )
    async with database.transaction() as tx:
        return await registrations.record(event, tx)


async def test_a_foreigner_waits_in_the_file_until_the_portal_has_taken_it(
    registrations: Registrations, database: Database
) -> None:
    prepared = await enter(registrations, database, came())
    assert isinstance(prepared, SireFilingPrepared)
    assert prepared.rows[0].line.split("\t")[8] == "E"
    report = prepared.report()
    assert report is not None
    assert (report.step, report.state.value) == ("sire", "processing")
    assert report.advice
    registered = await record(registrations, database, prepared, "accepted")
    assert isinstance(registered, SireRegistered)
    assert registered.guests == 1


async def test_what_the_authority_has_is_not_filed_again(registrations: Registrations, database: Database) -> None:
    prepared = await enter(registrations, database, came())
    await record(registrations, database, prepared, "accepted")
    assert isinstance(await again(registrations, database, 2), SireRegistered)


async def test_what_waits_is_one_row_however_often_it_is_asked_for(
    registrations: Registrations, database: Database
) -> None:
    first = await enter(registrations, database, came())
    second = await again(registrations, database, 2)
    assert isinstance(second, SireFilingPrepared)
    assert [row.key for row in second.rows] == [row.key for row in first.rows]
    row = await database.fetchrow("select count(*) as n from filings")
    assert row is not None
    assert row["n"] == 1


@pytest.mark.parametrize("result", ["rejected", "uncertain"])
async def test_what_the_portal_did_not_take_is_told(
    registrations: Registrations, database: Database, result: str
) -> None:
    prepared = await enter(registrations, database, came())
    refused = await record(registrations, database, prepared, result)
    assert isinstance(refused, SireRefused)
    report = refused.report()
    assert report is not None
    assert report.state.value == "failed"
    assert report.advice
    filed_again = await again(registrations, database, 2)
    assert isinstance(filed_again, SireFilingPrepared)


async def test_what_was_asked_for_again_while_it_was_in_a_file_is_registered_for_the_newest_wish(
    registrations: Registrations, database: Database
) -> None:
    first = await enter(registrations, database, came())
    await again(registrations, database, 2)
    registered = await record(registrations, database, first, "accepted")
    assert isinstance(registered, SireRegistered)
    assert registered.intent == 2


async def test_a_corrected_document_completes_what_the_wrong_one_could_not(
    registrations: Registrations, database: Database
) -> None:
    await record(registrations, database, await enter(registrations, database, came()), "rejected")
    corrected = await again(registrations, database, 2, ({**GUEST, "document_number": "C99"},))
    registered = await record(registrations, database, corrected, "accepted")
    assert isinstance(registered, SireRegistered)
    assert registered.intent == 2


async def test_entry_and_exit_are_two_reports(registrations: Registrations, database: Database) -> None:
    await enter(registrations, database, came())
    event = ReservationCheckedOut.model_validate(
        {
            "organization_id": 1,
            "reservation_id": 17,
            "property_name": "Hostal",
            "checked_out_at": NOW,
            "checked_out_on": NOW.date(),
            "sire_intent": 1,
            "guests": [GUEST],
        }
    )
    async with database.transaction() as tx:
        left = await registrations.file_exit(event, tx)
    assert isinstance(left, SireFilingPrepared)
    assert left.movement == "exit"


async def test_faulty_documents_block_and_name_every_mistake(registrations: Registrations, database: Database) -> None:
    blocked = await enter(registrations, database, came(guests=({**GUEST, "nationality": None},)))
    assert isinstance(blocked, JobFailed)
    assert "nationality is missing" in blocked.reason
    report = blocked.report()
    assert report is not None
    assert (report.step, report.state.value, bool(report.advice)) == ("sire", "failed", True)
    nobody = await enter(registrations, database, came(guests=()))
    assert "no guest" in nobody.reason


async def test_colombians_are_skipped_with_the_reason(registrations: Registrations, database: Database) -> None:
    skipped = await enter(registrations, database, came(guests=({**GUEST, "nationality": "CO"},)))
    assert isinstance(skipped, JobSkipped)
    assert "Colombian" in skipped.reason


async def test_a_property_without_sire_files_nothing(registrations: Registrations, database: Database) -> None:
    assert await enter(registrations, database, came(intent=None)) is None
    with pytest.raises(Transient):
        await enter(registrations, database, came(organization_id=2))


async def test_an_overdue_filing_is_told_once(
    registrations: Registrations, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await enter(registrations, database, came((GUEST, {**GUEST, "document_number": "C2"})))
    await database.fetchrow("update movements set due_at = now() - interval '1 hour'")
    for _ in range(2):
        await registrations.escalate()
    async with database.connection() as connection:
        told = await connection.fetch("select type, body from outbox")
    assert [(row["type"], json.loads(row["body"])["reservation_id"]) for row in told] == [("sire.overdue", 17)]
    said = capsys.readouterr()
    assert "C01X00T47" not in said.out + said.err


async def test_the_deadline_is_the_organizations_own_and_24_hours_by_default(
    registrations: Registrations, database: Database
) -> None:
    prepared = await enter(registrations, database, came())
    assert timedelta(hours=23) < prepared.due_at - datetime.now(UTC) <= timedelta(hours=24)
    sire = {"hotel_code": "12345", "city_code": "5001", "deadline_hours": 6}
    settings = {"organization_id": 1, "revision": 2, "name": "H", "time_zone": "America/Bogota", "sire": sire}
    async with database.transaction() as tx:
        await registrations.remember_organization(OrganizationConfigured.model_validate(settings), tx)
    sooner = await enter(registrations, database, came(({**GUEST, "document_number": "C3"},), intent=2))
    assert sooner.due_at - datetime.now(UTC) <= timedelta(hours=6)


async def overdue(registrations: Registrations, database: Database) -> list[dict[str, Any]]:
    """What the clock tells once every deadline is over."""
    await database.fetchrow("delete from outbox")
    await database.fetchrow("update movements set due_at = now() - interval '1 second'")
    await registrations.escalate()
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'sire.overdue'")
    return [json.loads(row["body"]) for row in rows]


@pytest.mark.parametrize(
    "guests",
    [
        ({**GUEST, "nationality": None},),
        ({**GUEST, "document_number": None},),
        (GUEST, {**GUEST, "nationality": None}),
        (),
    ],
    ids=["nationality", "number", "one of two", "nobody"],
)
async def test_the_deadline_runs_for_who_cannot_be_filed_yet(
    registrations: Registrations, database: Database, guests: Any
) -> None:
    await enter(registrations, database, came(guests))
    row = await database.fetchrow("select due_at from movements")
    assert row is not None
    assert timedelta(hours=23) < row["due_at"] - datetime.now(UTC) <= timedelta(hours=24)
    await registrations.escalate()
    assert await database.fetchrow("select from outbox") is None, "not before its time"
    (told,) = await overdue(registrations, database)
    assert (told["reservation_id"], told["movement"], told["intent"]) == (17, "entry", 1)
    assert await overdue(registrations, database) == [], "once"


async def test_a_correction_goes_on_with_the_clock_of_the_check_in(
    registrations: Registrations, database: Database
) -> None:
    await enter(registrations, database, came(({**GUEST, "nationality": None},)))
    await database.fetchrow("update movements set due_at = now() + interval '2 hours'")
    prepared = await again(registrations, database, 2)
    assert isinstance(prepared, SireFilingPrepared)
    assert prepared.due_at - datetime.now(UTC) <= timedelta(hours=2)
    await record(registrations, database, prepared, "accepted")
    assert await overdue(registrations, database) == []


async def test_a_correction_that_is_not_filed_in_time_is_overdue_too(
    registrations: Registrations, database: Database
) -> None:
    await enter(registrations, database, came(({**GUEST, "nationality": None},)))
    await again(registrations, database, 2)
    (told,) = await overdue(registrations, database)
    assert told["intent"] == 2


async def test_a_wrong_document_that_the_portal_refused_is_not_overdue_once_the_right_one_is_filed(
    registrations: Registrations, database: Database
) -> None:
    await record(registrations, database, await enter(registrations, database, came()), "rejected")
    corrected = await again(registrations, database, 2, ({**GUEST, "document_number": "C99"},))
    await record(registrations, database, corrected, "accepted")
    assert await overdue(registrations, database) == []


async def test_colombians_have_no_deadline(registrations: Registrations, database: Database) -> None:
    await enter(registrations, database, came(({**GUEST, "nationality": None},)))
    await again(registrations, database, 2, ({**GUEST, "nationality": "CO"},))
    assert await overdue(registrations, database) == []

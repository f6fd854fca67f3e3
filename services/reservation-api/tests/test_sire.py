"""The file for the portal: no row leaves twice, results go to the booking, and documents stay where they belong."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from llegada.events.event import Event
from llegada.events.job import JobSkipped
from llegada.events.sire import SireFilingPrepared, SireRegistrationRequested
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from reservation_api.operations.business import measure
from reservation_api.timeline.projection import Projection

Reservation = Callable[[], Awaitable[int]]
DAY = date(2026, 12, 1)


async def prepare(database: Database, number: int, *documents: str, intent: int = 1, organization: int = 1) -> None:
    rows = [{"key": f"3|{d}|{DAY}|E", "line": f"12345\t5001\t3\t{d}\t23\tMUSTER"} for d in documents]
    event = SireFilingPrepared.model_validate(
        {
            "organization_id": organization,
            "reservation_id": number,
            "movement": "entry",
            "intent": intent,
            "moved_on": DAY,
            "guests": len(rows),
            "due_at": datetime.now(UTC),
            "rows": rows,
        }
    )
    await project(database, event)


async def project(database: Database, event: Event) -> None:
    envelope = first(event, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None)
    async with database.transaction() as tx:
        await Projection().project([Delivered(event, envelope)], tx)


async def states(client: httpx.AsyncClient) -> list[str]:
    found = (await client.get("/api/sire/rows")).json()["data"]
    return sorted(row["state"] for row in found)


async def close(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/api/sire/files", json={"day": str(DAY)})


async def result(client: httpx.AsyncClient, number: int, said: str, *errors: dict[str, Any]) -> httpx.Response:
    return await client.post(f"/api/sire/files/{number}/result", json={"result": said, "rowErrors": list(errors)})


async def recorded(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'sire.result_recorded' order by id")
    return [json.loads(row["body"]) for row in rows]


async def test_the_day_is_one_file_and_what_comes_later_goes_into_the_next(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await prepare(database, number, "AAA111", "BBB222")
    made = await close(client)
    assert made.status_code == 201, made.text
    assert made.json()["data"] == {"number": 1, "day": str(DAY), "rows": 2}
    await prepare(database, number, "AAA111", "CCC333", intent=2)
    second = (await close(client)).json()["data"]
    assert (second["number"], second["rows"]) == (2, 1)
    assert (await close(client)).status_code == 409
    content = (await client.get("/api/sire/files/1")).content
    assert content == b"12345\t5001\t3\tAAA111\t23\tMUSTER\r\n12345\t5001\t3\tBBB222\t23\tMUSTER"
    listed = (await client.get("/api/sire/files")).json()
    assert [(file["number"], file["rows"]) for file in listed["data"]] == [(2, 1), (1, 2)]


async def test_a_partial_result_is_told_row_by_row(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    one, two = await reservation(), await reservation()
    await prepare(database, one, "AAA111")
    await prepare(database, two, "BBB222")
    await close(client)
    refused = {"row": 2, "message": "el codigo de nacionalidad no existe"}
    assert (await result(client, 1, "partial", refused)).status_code == 200
    assert await states(client) == ["accepted", "rejected"]
    told = {event["reservation_id"]: (event["result"], event["reason"]) for event in await recorded(database)}
    assert told == {one: ("accepted", None), two: ("rejected", refused["message"])}
    assert (await result(client, 1, "accepted")).status_code == 409
    await prepare(database, two, "BBB222", intent=2)
    assert await states(client) == ["accepted", "waiting"]


async def test_uncertain_may_be_decided_later(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    await prepare(database, await reservation(), "AAA111")
    await close(client)
    assert (await result(client, 1, "uncertain")).status_code == 200
    assert await states(client) == ["uncertain"]
    assert (await result(client, 1, "accepted")).status_code == 200
    assert [event["result"] for event in await recorded(database)] == ["uncertain", "accepted"]


@pytest.mark.parametrize(
    ("said", "errors", "status"),
    [
        ("partial", [], 422),
        ("accepted", [{"row": 1, "message": "x"}], 422),
        ("partial", [{"row": 3, "message": "x"}], 422),
        ("perhaps", [], 422),
    ],
)
async def test_a_senseless_result_changes_nothing(
    client: httpx.AsyncClient, database: Database, reservation: Reservation, said: str, errors: Any, status: int
) -> None:
    await prepare(database, await reservation(), "AAA111")
    await close(client)
    assert (await result(client, 1, said, *errors)).status_code == status
    assert await states(client) == ["in_file"]


async def test_another_organization_has_neither_rows_nor_files(
    client: httpx.AsyncClient, database: Database, reservation: Reservation, token: Callable[..., str]
) -> None:
    number = await reservation()
    await prepare(database, number, "AAA111")
    await close(client)
    stranger = {"Authorization": f"Bearer {token(organization=2)}"}
    assert (await client.get("/api/sire/files/1", headers=stranger)).status_code == 404
    assert (await client.get("/api/sire/rows", headers=stranger)).json()["meta"]["total"] == 0


async def test_documents_stand_neither_in_the_timeline_nor_in_the_list(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await prepare(database, number, "AAA111")
    for path in (f"/api/reservations/{number}/timeline", "/api/sire/rows"):
        assert "AAA111" not in (await client.get(path)).text


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_corrected_document_takes_the_place_of_the_wrong_one(
    client: httpx.AsyncClient, database: Database, reservation: Reservation, *, newest_first: bool
) -> None:
    number = await reservation()
    wishes = [(("X1", "A2"), 1), (("X2", "A2"), 2)]
    for documents, intent in reversed(wishes) if newest_first else wishes:
        await prepare(database, number, *documents, intent=intent)
    assert await states(client) == ["superseded", "waiting", "waiting"]
    await close(client)
    lines = (await client.get("/api/sire/files/1")).text
    assert ("X2" in lines, "X1" in lines) == (True, False)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_guest_who_turns_out_to_be_colombian_is_not_reported(
    client: httpx.AsyncClient, database: Database, reservation: Reservation, *, newest_first: bool
) -> None:
    number = await reservation()
    wished = {"organization_id": 1, "reservation_id": number, "movement": "entry", "moved_on": DAY, "guests": []}
    wished["property_name"] = "Hostal"
    skipped = {"organization_id": 1, "reservation_id": number, "job": "sire-worker", "step_name": "sire"}
    skipped |= {"cause_type": "sire.registration_requested", "reason": "every guest is Colombian"}
    await project(database, SireRegistrationRequested.model_validate(wished | {"intent": 2}))
    if not newest_first:
        await prepare(database, number, "X1")
        assert await states(client) == ["waiting"], "the newer wish has not been looked at yet"
    await project(database, JobSkipped.model_validate(skipped | {"intent": 2}))
    if newest_first:
        await prepare(database, number, "X1")
    assert await states(client) == ["superseded"]


async def test_what_was_rejected_and_then_corrected_is_owed_to_nobody(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await prepare(database, number, "X1")
    await close(client)
    await result(client, 1, "rejected")
    await prepare(database, number, "X2", intent=2)
    assert await states(client) == ["superseded", "waiting"]
    await close(client)
    await result(client, 2, "accepted")
    await measure(database)
    assert REGISTRY.get_sample_value("llegada_sire_next_deadline_timestamp_seconds") == float("inf")
    await prepare(database, number, "X1", intent=3)
    assert await states(client) == ["accepted", "waiting"], "the first document was right after all"

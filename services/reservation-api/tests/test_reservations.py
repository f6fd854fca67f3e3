"""POST and GET of reservations: what is stored, what is refused, who sees what."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from llegada.messaging.transaction import Database
from llegada.testing.plugin import EngineAs
from reservation_api.problems import Conflict
from reservation_api.reservations.store import earlier, forget_answers

Token = Callable[..., str]

GOOD: dict[str, Any] = {
    "guestName": "Ana Gómez",
    "contact": "300 123 4567",
    "amount": 180_000,
    "checkInDate": "2026-12-01",
    "checkOutDate": "2026-12-03",
}


async def stored(database: Database) -> tuple[int, int]:
    row = await database.fetchrow(
        "select (select count(*) from reservations) as r,"
        " (select count(*) from outbox where type = 'reservation.created') as o"
    )
    assert row is not None
    return row["r"], row["o"]


async def test_a_reservation_and_its_event_are_stored_together(client: httpx.AsyncClient, database: Database) -> None:
    answer = await client.post("/api/reservations", json=GOOD, headers={"X-Request-ID": "desk-17"})
    assert answer.status_code == 201
    body = answer.json()
    assert body["success"] is True
    assert "im Hintergrund" in body["message"]
    data = body["data"]
    assert (data["guestPhone"], data["status"], data["processingStatus"]) == ("+573001234567", "confirmed", "pending")
    assert [step["step"] for step in data["steps"]] == ["paymentLink", "confirmation"]
    assert answer.headers["x-request-id"] == "desk-17"
    row = await database.fetchrow("select * from outbox where type = 'reservation.created'")
    assert row is not None
    assert row["properties"]["correlation_id"] == "desk-17"
    event = json.loads(row["body"])
    assert event["check_in_url"] == data["checkInLink"]
    assert event["property_name"] == "Hostal"


async def test_two_check_in_links_share_nothing_that_can_be_guessed(client: httpx.AsyncClient) -> None:
    links = [(await client.post("/api/reservations", json=GOOD)).json()["data"]["checkInLink"] for _ in range(2)]
    tokens = [link.rsplit("-", 1)[1] for link in links]
    assert all(len(link) > 40 for link in links)
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": "abc"}, "amount"),
        ({"amount": "180000"}, "amount"),
        ({"amount": 1e12}, "amount"),
        ({"amount": 10**12}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": None}, "amount"),
        ({"contact": "12"}, "body"),
        ({"contact": "+57 999"}, "body"),
        ({"contact": "a@b"}, "body"),
        ({"contact": None}, "body"),
        ({"guestPhone": "+1 555"}, "guestPhone"),
        ({"guestEmail": "nobody"}, "guestEmail"),
        ({"guestName": " "}, "guestName"),
        ({"guestName": "x" * 201}, "guestName"),
        ({"currency": "USD"}, "currency"),
        ({"checkInDate": "2026-12-03", "checkOutDate": "2026-12-01"}, "body"),
        ({"checkInDate": "2026-02-30"}, "checkInDate"),
        ({"language": "fr"}, "language"),
        ({"guestNationality": "Colombia"}, "guestNationality"),
        ({"guestDocumentType": "card"}, "guestDocumentType"),
        ({"guests": [{"guestNationality": "CO", "shoeSize": 42}]}, "guests.0.shoeSize"),
        ({"discount": 5}, "discount"),
    ],
)
async def test_bad_input_is_explained_and_nothing_is_stored(
    client: httpx.AsyncClient, database: Database, change: dict[str, Any], field: str
) -> None:
    answer = await client.post("/api/reservations", json={**GOOD, **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["success"] is False
    assert problem["message"] == problem["detail"]
    assert field in [error["field"] for error in problem["errors"]]
    assert await stored(database) == (0, 0)


async def test_what_a_database_cannot_hold_is_explained_too(client: httpx.AsyncClient, database: Database) -> None:
    answer = await client.post("/api/reservations", json={**GOOD, "guestName": "Ana\x00"})
    assert (answer.status_code, "NUL" in answer.json()["detail"]) == (422, True)
    assert await stored(database) == (0, 0)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"guestName": "' + b"x" * 1_000_000 + b'"}', {}, 413),
        (b"{not json", {}, 422),
        (b"[]", {}, 422),
        (b"", {}, 422),
        (b"<a/>", {"content-type": "text/xml"}, 415),
    ],
)
async def test_a_body_that_is_none_is_refused(
    client: httpx.AsyncClient, database: Database, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(
        "/api/reservations", content=content, headers={"content-type": "application/json", **headers}
    )
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert await stored(database) == (0, 0)


async def test_a_body_of_unknown_length_is_bounded_too(client: httpx.AsyncClient, database: Database) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b'{"guestName": "' + b"x" * 10_000

    answer = await client.post("/api/reservations", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert await stored(database) == (0, 0)


async def test_a_wrong_token_is_refused(client: httpx.AsyncClient, database: Database, token: Token) -> None:
    unsigned = jwt.encode({"sub": "x", "org": 1, "roles": ["staff"], "exp": time.time() + 60}, "", algorithm="none")
    wrong = [
        token(secret="another-secret-that-is-long-enough-too"),
        token(exp=int(time.time()) - 10),
        token(organization="1"),
        token(organization=0),
        unsigned,
        "nonsense",
    ]
    for each in wrong:
        answer = await client.post("/api/reservations", json=GOOD, headers={"Authorization": f"Bearer {each}"})
        assert (answer.status_code, answer.json()["title"]) == (401, "Not signed in"), each
    missing = await client.post("/api/reservations", json=GOOD, headers={"Authorization": ""})
    assert missing.status_code == 401
    powerless = {"Authorization": f"Bearer {token(roles=['guest'])}"}
    assert (await client.post("/api/reservations", json=GOOD, headers=powerless)).status_code == 403
    assert await stored(database) == (0, 0)


async def test_another_organizations_reservation_does_not_exist(client: httpx.AsyncClient, token: Token) -> None:
    created = (await client.post("/api/reservations", json=GOOD)).json()["data"]
    other = {"Authorization": f"Bearer {token(organization=2)}"}
    for path in (f"/api/reservations/{created['id']}", f"/api/reservations/{created['id']}/timeline"):
        assert (await client.get(path)).status_code == 200
        assert (await client.get(path, headers=other)).status_code == 404
    assert (await client.get("/api/reservations", headers=other)).json()["meta"]["total"] == 0
    assert (await client.get("/api/organizations/1/settings", headers=other)).status_code == 404


async def test_an_organization_without_settings_is_told_what_to_do(client: httpx.AsyncClient, token: Token) -> None:
    headers = {"Authorization": f"Bearer {token(organization=9)}"}
    answer = await client.post("/api/reservations", json=GOOD, headers=headers)
    assert answer.status_code == 409
    assert "/api/organizations/9/settings" in answer.json()["detail"]


async def test_the_app_role_sees_one_organization_only(
    client: httpx.AsyncClient, database: Database, engine_as: EngineAs
) -> None:
    await client.post("/api/reservations", json=GOOD)
    app = Database(engine_as("reservation_api", "llegada_app"), "reservation_api")
    count = "select count(*) as n from reservations"
    for settings, expected in (
        (None, 0),
        ("set local llegada.organization = '2'", 0),
        ("set local llegada.organization = '1'", 1),
    ):
        async with app.transaction(settings) as tx:
            assert await tx.fetchval(count) == expected
    row = await app.fetchrow(
        "select rolsuper, rolbypassrls, (select count(*) from pg_tables where tableowner = current_user) as owned"
        " from pg_roles where rolname = current_user"
    )
    assert row is not None
    assert (row["rolsuper"], row["rolbypassrls"], row["owned"]) == (False, False, 0)


async def test_one_key_is_one_reservation_however_often_and_at_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    headers = {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(*(client.post("/api/reservations", json=GOOD, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 7
    assert await stored(database) == (1, 1)
    other = await client.post("/api/reservations", json={**GOOD, "amount": 1}, headers=headers)
    assert other.status_code == 409


async def test_an_answer_is_forgotten_after_thirty_days_and_its_key_is_new(
    client: httpx.AsyncClient, database: Database
) -> None:
    for key in ("old", "young"):
        await client.post("/api/reservations", json=GOOD, headers={"Idempotency-Key": key})
    async with database.connection() as connection:
        await connection.execute(
            "update idempotency_keys set created_at = now() - interval '31 days' where key = 'old'"
        )
    await forget_answers(database)
    again = [
        await client.post("/api/reservations", json=GOOD, headers={"Idempotency-Key": key}) for key in ("old", "young")
    ]
    assert ["idempotency-replayed" in answer.headers for answer in again] == [False, True]


async def test_an_answer_that_is_forgotten_while_it_is_asked_for_is_a_conflict(database: Database) -> None:
    async with database.transaction() as tx:
        with pytest.raises(Conflict, match="send the request again"):
            await earlier(tx, 1, "gone")


async def test_lists_are_filtered_and_paged(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post("/api/reservations", json={**GOOD, "guestName": f"Guest {number}%"})
    page = (await client.get("/api/reservations", params={"page": 2, "pageSize": 2})).json()
    assert page["meta"] == {"total": 5, "page": 2, "pageSize": 2}
    assert [row["guestName"] for row in page["data"]] == ["Guest 2%", "Guest 1%"]
    for filters, total in (
        ({"text": "guest 3"}, 1),
        ({"text": "%"}, 5),
        ({"text": "_"}, 0),
        ({"processingStatus": "pending"}, 5),
        ({"processingStatus": "completed"}, 0),
        ({"checkInFrom": "2026-12-02"}, 0),
        ({"status": "confirmed"}, 5),
    ):
        found = (await client.get("/api/reservations", params=filters)).json()
        assert found["meta"]["total"] == total, filters
    assert (await client.get("/api/reservations", params={"pageSize": 201})).status_code == 422


@pytest.mark.parametrize(
    ("accepted", "words"), [("es-CO,es", "segundo plano"), ("en", "background"), ("fr", "Hintergrund")]
)
async def test_messages_follow_the_readers_language(client: httpx.AsyncClient, accepted: str, words: str) -> None:
    answer = await client.post("/api/reservations", json=GOOD, headers={"Accept-Language": accepted})
    assert words in answer.json()["message"]


async def test_unknown_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    for method, path, status in (("GET", "/api/nothing", 404), ("DELETE", "/api/reservations", 405)):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    "change",
    [
        {"timeZone": "Mars/Base"},
        {"channels": []},
        {"channels": ["fax"]},
        {"nme": "x"},
        {"quietHours": {"start": "22:00", "end": "22:00"}},
        {"quietHours": {"start": "22:00", "end": "08:00-05:00"}},
        {"quietHours": {"start": "22:00"}},
    ],
)
async def test_senseless_settings_are_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    answer = await client.put("/api/organizations/1/settings", json={"name": "Hostal", **change})
    assert answer.status_code == 422


async def test_quiet_hours_are_settings_that_the_workers_are_told(
    client: httpx.AsyncClient, database: Database
) -> None:
    hours = {"start": "22:00:00", "end": "08:00:00"}
    settings = {"name": "Hostal", "timeZone": "Europe/Madrid", "quietHours": {"start": "22:00", "end": "08:00"}}
    assert (await client.put("/api/organizations/1/settings", json=settings)).status_code == 200
    assert (await client.get("/api/organizations/1/settings")).json()["data"]["quietHours"] == hours
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'organization.configured' order by id")
    told = json.loads(rows[-1]["body"])
    assert (told["quiet_hours"], told["time_zone"]) == (hours, "Europe/Madrid")
    assert (await client.put("/api/organizations/1/settings", json={"name": "Hostal"})).status_code == 200
    assert "quietHours" not in (await client.get("/api/organizations/1/settings")).json()["data"]

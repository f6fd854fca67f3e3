"""What no column holds, and no calendar reckons with, is refused in words."""

from typing import Any

import httpx
import pytest

from reservation_api.app import api

BEYOND = 2**63


def test_every_number_that_is_taken_in_has_a_largest() -> None:
    document = api().openapi()
    taken = {
        f"{path} {parameter['name']}": kind
        for path, methods in document["paths"].items()
        for method in methods.values()
        for parameter in method.get("parameters", [])
        for kind in parameter["schema"].get("anyOf", [parameter["schema"]])
    }
    for name, model in document["components"]["schemas"].items():
        for field, schema in model.get("properties", {}).items():
            for kind in schema.get("anyOf", [schema]):
                taken[f"{name} {field}"] = kind.get("items", kind)
    numbers = {where: kind for where, kind in taken.items() if kind.get("type") == "integer"}
    assert len(numbers) > 50
    assert [where for where, kind in numbers.items() if "maximum" not in kind] == []


@pytest.mark.parametrize(
    "path",
    [
        f"/api/reservations/{BEYOND}",
        f"/api/reservations/{BEYOND}/timeline",
        f"/api/reservations/{BEYOND}/events",
        f"/api/reservations/{BEYOND}/sire",
        f"/api/tasks?reservationId={BEYOND}",
        f"/api/statements?userId={BEYOND}",
        f"/api/messages?page={BEYOND}",
        f"/api/users/{BEYOND}/lifecycle",
        f"/api/admin/dead-letters/{BEYOND}",
        "/api/sire/files/3000000000",
    ],
)
async def test_a_number_that_no_column_holds_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 422
    assert "less than or equal to" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/reservations", {"guestName": "Ana", "contact": "a@b.co", "amount": 1, "checkInDate": "9999-12-31"}),
        ("/api/tasks", {"title": "a", "role": "b", "dueAt": "9999-12-31T23:59:59-05:00"}),
        ("/api/tasks", {"title": "a", "role": "b", "reservationId": BEYOND}),
        ("/api/statements/run", {"userId": BEYOND}),
        ("/api/admin/dead-letters/replays", {"ids": [BEYOND]}),
        ("/api/users/1/offboarding", {"exitOn": "9999-12-31"}),
    ],
)
async def test_what_a_body_may_not_hold_is_refused(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 422
    assert "less than or equal to" in answer.json()["detail"]


async def test_the_last_day_can_be_booked(client: httpx.AsyncClient) -> None:
    last = {"guestName": "Ana", "contact": "a@b.co", "amount": 1, "checkInDate": "2999-12-31"}
    answer = await client.post("/api/reservations", json=last)
    assert (answer.status_code, answer.json()["data"]["checkOutDate"]) == (201, "3000-01-01")

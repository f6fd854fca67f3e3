"""Tasks are stored once, moved by people by the rules of quality control, and follow their booking."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from llegada.events.task import TaskCreated, TaskFollowed
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from reservation_api.problems import Conflict, Forbidden
from reservation_api.tasks.workflow import move
from reservation_api.timeline.projection import Projection

Reservation = Callable[[], Awaitable[int]]
KEY = uuid4()


async def tell(database: Database, kind: type[TaskCreated | TaskFollowed] = TaskCreated, **changes: Any) -> None:
    known = {
        "organization_id": 1,
        "key": KEY,
        "rule": "cleaning",
        "cause": "reservation.checked_out/1",
        "title": {"de": "Reinigung", "es": "Limpieza"},
        "role": "Limpieza",
        "quality_control": True,
        "because": "cancelled",
    }
    event = kind.model_validate({**known, **changes})
    envelope = first(event, source="tests", correlation_id="1", lane=Lane.BULK, traceparent=None)
    async with database.transaction() as tx:
        await Projection().project([Delivered(event, envelope)], tx)


async def only(client: httpx.AsyncClient) -> dict[str, Any]:
    [task] = (await client.get("/api/tasks")).json()["data"]
    whole: dict[str, Any] = (await client.get(f"/api/tasks/{task['id']}")).json()["data"]
    return whole


async def test_a_task_is_there_once_in_the_readers_language(client: httpx.AsyncClient, database: Database) -> None:
    for _ in range(3):
        await tell(database)
    assert (await only(client))["title"] == "Reinigung"
    [spanish] = (await client.get("/api/tasks", headers={"Accept-Language": "es"})).json()["data"]
    assert spanish["title"] == "Limpieza"
    assert len((await only(client))["history"]) == 1


async def test_who_finished_it_does_not_control_it(
    client: httpx.AsyncClient, database: Database, token: Callable[..., str]
) -> None:
    await tell(database)
    path = f"/api/tasks/{(await only(client))['id']}"
    assert (await client.patch(path, json={"status": "done"})).status_code == 409
    assert (await client.patch(path, json={"status": "quality_control"})).status_code == 200
    assert (await client.patch(path, json={"status": "done"})).status_code == 403
    other = {"Authorization": f"Bearer {token(sub='other@test')}"}
    worse = await client.patch(path, json={"status": "improval", "note": "the mirror"}, headers=other)
    assert worse.status_code == 200, worse.text
    assert (await client.patch(path, json={"status": "quality_control"})).status_code == 200
    done = await client.patch(path, json={"status": "done"}, headers=other)
    assert [(e["actor"], e["to"], e["note"]) for e in done.json()["data"]["history"]] == [
        ("system", "open", None),
        ("staff@test", "quality_control", None),
        ("other@test", "improval", "the mirror"),
        ("staff@test", "quality_control", None),
        ("other@test", "done", None),
    ]
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from outbox where type = 'task.status_changed'") == 4


async def test_a_task_follows_once_and_none_that_is_done_is_opened(
    client: httpx.AsyncClient, database: Database
) -> None:
    await tell(database, quality_control=False)
    path = f"/api/tasks/{(await only(client))['id']}"
    await client.patch(path, json={"status": "done"})
    await tell(database, TaskFollowed, status="in_progress", revision=2)
    assert (await only(client))["status"] == "done"
    other = uuid4()
    for revision in (3, 2, 3):
        status = {2: "in_progress", 3: "done"}[revision]
        await tell(database, TaskFollowed, key=other, status=status, revision=revision)
    listed = (await client.get("/api/tasks")).json()["data"]
    assert [task["status"] for task in listed] == ["done", "done"]


async def test_a_task_by_hand_leads_to_its_reservation(client: httpx.AsyncClient, reservation: Reservation) -> None:
    number = await reservation()
    new = {"title": "Flowers", "person": "luz@hostal.test", "reservationId": number}
    made = await client.post("/api/tasks", json=new)
    assert made.status_code == 201, made.text
    assert made.json()["data"]["reservation"] == f"/api/reservations/{number}"
    assert (await client.post("/api/tasks", json={**new, "role": "Recepción"})).status_code == 422
    assert (await client.post("/api/tasks", json={**new, "reservationId": number + 99})).status_code == 404
    found = (await client.get("/api/tasks", params={"person": "luz@hostal.test", "open": True})).json()
    assert found["meta"]["total"] == 1


async def test_a_made_task_stands_in_its_bookings_timeline_without_the_guests_name(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await tell(database, reservation_id=number, title={"de": "Check-in: Ana Gómez"})
    text = (await client.get(f"/api/reservations/{number}/timeline")).text
    assert "task.created" in text
    assert "Ana" not in text


async def test_rules_are_an_organizations_own_and_are_told_to_the_worker(
    client: httpx.AsyncClient, database: Database, token: Callable[..., str]
) -> None:
    defaults = (await client.get("/api/tasks/rules")).json()["data"]
    assert defaults["revision"] == 0
    assert {rule["key"] for rule in defaults["rules"]} >= {"check_in", "cleaning", "unpaid_at_arrival"}
    answer = await client.put("/api/tasks/rules", json={"rules": defaults["rules"][:2]})
    assert answer.status_code == 200, answer.text
    assert (await client.get("/api/tasks/rules")).json()["data"]["rules"] == defaults["rules"][:2]
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from outbox where type = 'task.rules_configured'") == 1
    stranger = {"Authorization": f"Bearer {token(organization=2)}"}
    assert (await client.get("/api/tasks/rules", headers=stranger)).json()["data"]["revision"] == 0
    staff = {"Authorization": f"Bearer {token(roles=['staff'])}"}
    assert (await client.put("/api/tasks/rules", json={"rules": []}, headers=staff)).status_code == 403


@pytest.mark.parametrize(
    "change",
    [{"role": None}, {"person": "x"}, {"on": "reservation.dreamt"}, {"when": "deadline_near"}, {"title": {}}],
)
async def test_a_rule_that_makes_no_sense_is_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    rule = {"key": "a", "on": "reservation.created", "role": "Recepción", "title": {"es": "A"}}
    assert (await client.put("/api/tasks/rules", json={"rules": [{**rule, **change}]})).status_code == 422
    assert (await client.put("/api/tasks/rules", json={"rules": [rule, rule]})).status_code == 422


async def test_another_organization_has_no_tasks(
    client: httpx.AsyncClient, database: Database, token: Callable[..., str]
) -> None:
    await tell(database)
    number = (await only(client))["id"]
    stranger = {"Authorization": f"Bearer {token(organization=2)}"}
    assert (await client.get("/api/tasks", headers=stranger)).json()["meta"]["total"] == 0
    answer = await client.patch(f"/api/tasks/{number}", json={"status": "in_progress"}, headers=stranger)
    assert answer.status_code == 404


def test_only_an_admin_opens_what_is_done() -> None:
    about = {"controlled": False, "finished_by": "a", "actor": "b"}
    assert move("done", "open", admin=True, **about).finished_by is None  # type: ignore[arg-type]
    with pytest.raises(Forbidden):
        move("done", "open", admin=False, **about)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="possible: in_progress, done"):
        move("open", "quality_control", admin=True, **about)  # type: ignore[arg-type]

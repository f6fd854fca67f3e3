"""The back office through all processes: statements, tasks, life cycles, with kill -9 and data that cannot be set."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage

pytestmark = pytest.mark.more

WORKER = "backoffice-worker"
PEOPLE, CLIENTS = 6, 400
PATIENCE = 150
"""A killed document waits for the end of its lease (45 s) on a rung of a minute."""


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    return stage.system()


def data(answer: Any) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["data"]


def person(desk: Desk, name: str, **more: Any) -> int:
    new = {"name": name, "email": f"{name.lower()}@hostal.test", "position": "Recepcionista", "startsOn": "2026-01-01"}
    number: int = data(desk.admin.post("/api/users", json={**new, **more}))["id"]
    return number


def kill_and_start(desk: Desk) -> None:
    desk.system.cluster.services[WORKER].kill()
    desk.system.cluster.services[WORKER].start()


def lifecycle(desk: Desk, user: int) -> dict[str, Any]:
    found: dict[str, Any] = data(desk.admin.get(f"/api/users/{user}/lifecycle"))
    return found


def tasks(desk: Desk, **wanted: Any) -> dict[str, dict[str, Any]]:
    found = data(desk.api.get("/api/tasks", params={"pageSize": 200, **wanted}))
    assert len({task["rule"] for task in found}) == len(found), "one task per rule and cause"
    return {task["rule"]: task for task in found}


def statements(desk: Desk, users: list[int]) -> list[dict[str, Any]]:
    found = data(desk.admin.get("/api/statements", params={"pageSize": 200}))
    return [one for one in found if one["userId"] in users]


def consultant(desk: Desk, name: str, client: str, clients: int) -> int:
    """Somebody whose work of last month is imported, twice, and shall be billed."""
    day = str(date.today().replace(day=1) - timedelta(days=45))  # noqa: DTZ011 - any day of a period that is over
    user = person(desk, name)
    billing = {"enabled": True, "recipient": "Buchhaltung", "recipientEmail": "b@example.ch", "hourlyRate": 15000}
    data(desk.admin.put(f"/api/users/{user}/statement-settings", json=billing))
    work = [
        {"externalId": f"{user}-{n}", "userId": user, "clientId": f"c{n}", "clientName": f"{client} {n}"}
        for n in range(clients)
    ]
    times = [{**entry, "date": day, "minutes": 15 + n % 60} for n, entry in enumerate(work)]
    for _ in range(2):
        data(desk.admin.post("/api/work-times", json={"workTimes": times}))
    return user


def test_statements_are_made_once_through_kills_and_one_that_fails_holds_up_nobody(desk: Desk) -> None:
    names = ["漢字 AG" if number == 2 else "Alpha AG" for number in range(PEOPLE)]
    users = [consultant(desk, f"Person{n}", client, CLIENTS) for n, client in enumerate(names)]
    with ThreadPoolExecutor(4) as pool:
        answers = [data(answer) for answer in pool.map(lambda _: desk.admin.post("/api/statements/run"), range(4))]
    outcomes = [result["outcome"] for answer in answers for result in answer if result["userId"] in users]
    assert (outcomes.count("requested"), outcomes.count("exists")) == (PEOPLE, 3 * PEOPLE)
    until(lambda: any(s["status"] == "generated" for s in statements(desk, users)), 60, "a first statement")
    kill_and_start(desk)

    def settled() -> bool:
        return all(found["status"] in ("generated", "failed") for found in statements(desk, users))

    until(settled, PATIENCE, "every statement is made or has failed")
    found = statements(desk, users)
    failed = [one for one in found if one["status"] == "failed"]
    assert sorted(one["number"][-3:] for one in found) == [f"{user:03}" for user in users]
    assert [one["consultant"] for one in failed] == ["Person2"]
    assert "U+6F22" in failed[0]["reason"]
    for one in found:
        if one["status"] == "generated":
            pdf = desk.admin.get(f"/api/statements/{one['id']}/pdf")
            assert pdf.content.startswith(b"%PDF-")
            assert hashlib.sha256(pdf.content).hexdigest() == one["sha256"]
            assert one["pages"] > 5
    done = "select count(*) from backoffice_worker.effects where kind = 'statement-pdf' and state = 'done'"
    assert desk.rows(done) == [(sum(s["status"] != "failed" for s in data(desk.admin.get("/api/statements"))),)]


def test_a_statement_is_sent_by_e_mail_and_archived(desk: Desk) -> None:
    user = consultant(desk, "Alma", "Beta AG", 3)
    data(desk.admin.post("/api/statements/run"))
    until(lambda: all(s["status"] == "generated" for s in statements(desk, [user])), PATIENCE, "the statement")
    [one] = statements(desk, [user])
    path = f"/api/statements/{one['id']}"
    data(desk.admin.post(f"{path}/send"))
    until(lambda: data(desk.admin.get(path))["status"] == "sent", 60, "the mail server took it")
    [mail] = [m for m in desk.effects(provider="smtp") if one["number"] in str(m)]
    assert "b@example.ch" in str(mail)
    assert data(desk.admin.patch(path, json={"status": "archived"}))["status"] == "archived"


def test_a_stay_makes_its_tasks_once_and_they_follow_it_through_a_kill(desk: Desk) -> None:
    number = desk.create("+573004440001")["id"]
    desk.sent(number)
    until(lambda: "check_in" in tasks(desk, reservationId=number), 60, "the check-in's task")
    desk.system.cluster.services[WORKER].kill()
    data(desk.api.post(f"/api/reservations/{number}/check-in", json={"roomNumber": "204"}))
    desk.system.cluster.services[WORKER].start()
    until(lambda: "unpaid_at_arrival" in tasks(desk, reservationId=number), 60, "somebody collects the money")
    until(lambda: tasks(desk, reservationId=number)["check_in"]["status"] == "done", 60, "the task follows")
    data(desk.api.post(f"/api/reservations/{number}/check-out"))
    kill_and_start(desk)
    until(lambda: "cleaning" in tasks(desk, reservationId=number), 60, "somebody cleans")
    assert "204" in tasks(desk, reservationId=number)["cleaning"]["title"]


def test_an_employee_comes_works_and_goes_with_a_certificate(desk: Desk) -> None:
    user = person(desk, "Luz", notRequired=["eps", "caja"], salary=1_800_000)
    kill_and_start(desk)
    until(lambda: lifecycle(desk, user)["status"] == "onboarding", 60, "the life cycle begins")
    open_tasks = until(lambda: tasks(desk, userId=user), 60, "its tasks")
    assert {task["step"] for task in open_tasks.values()} == {
        "arl",
        "pension",
        "id_document",
        "bank_details",
        "contract",
    }
    data(desk.api.patch(f"/api/tasks/{open_tasks['onboarding_arl']['id']}", json={"status": "done"}))
    until(lambda: lifecycle(desk, user)["progress"] == 20, 60, "a task that is done is progress")
    for step in ("pension", "id_document", "bank_details", "contract"):
        data(desk.admin.put(f"/api/users/{user}/lifecycle/{step}", json={"status": "done"}))
    until(lambda: lifecycle(desk, user)["status"] == "active", 60, "everything is done")
    until(lambda: all(t["status"] == "done" for t in tasks(desk, userId=user).values()), 60, "their tasks too")
    change = {"effectiveOn": "2026-12-01", "position": "Administradora"}
    data(desk.admin.post(f"/api/users/{user}/contract-changes", json=change))
    kill_and_start(desk)
    until(lambda: lifecycle(desk, user)["status"] == "contract_change", 60, "the contract changes")
    for step in ("amendment", "social_security_update"):
        data(desk.admin.put(f"/api/users/{user}/lifecycle/{step}", json={"status": "done"}))
    until(lambda: lifecycle(desk, user)["status"] == "active", 60, "the changed contract is signed")
    data(desk.admin.post(f"/api/users/{user}/offboarding", json={"exitOn": "2026-12-31"}))
    until(lambda: lifecycle(desk, user)["status"] == "offboarding", 60, "the way out")
    for step in ("certificate", "final_settlement", "social_security_signoff"):
        data(desk.admin.put(f"/api/users/{user}/lifecycle/{step}", json={"status": "done"}))
    until(lambda: lifecycle(desk, user)["status"] == "archived", 60, "the end")

    def certificates() -> list[dict[str, Any]]:
        return [d for d in data(desk.admin.get(f"/api/users/{user}/documents")) if d["state"] == "ready"]

    [certificate] = until(certificates, 60, "the certificate")
    pdf = desk.admin.get(f"/api/users/{user}/documents/{certificate['key']}/pdf")
    assert hashlib.sha256(pdf.content).hexdigest() == certificate["sha256"]
    assert len(lifecycle(desk, user)["history"]) == lifecycle(desk, user)["revision"]

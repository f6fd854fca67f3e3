"""Documents in an S3-compatible store through all processes: the store away, a kill, editions, e-mail, download."""

import hashlib
from datetime import date, timedelta
from typing import Any

import pytest

from llegada_dev.objects import READER, WRITER, ObjectStore
from llegada_dev.ports import Ports, free_base
from llegada_dev.waiting import until

from .conftest import Desk, Stage

pytestmark = pytest.mark.more

PATIENCE = 150
"""A wait of half a minute for the store, after a killed document's lease (45 s) on a rung of a minute."""


@pytest.fixture(scope="module")
def objects(stage: Stage) -> ObjectStore:
    return stage.objects(Ports(free_base()).objects)


@pytest.fixture(scope="module")
def desk(stage: Stage, objects: ObjectStore) -> Desk:
    keys = {"BACKOFFICE_WORKER_S3": WRITER, "RESERVATION_API_S3": READER, "NOTIFICATION_WORKER_S3": READER}
    return stage.system(more={variable: objects.settings(identity) for variable, identity in keys.items()})


def data(answer: Any) -> Any:
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["data"]


def consultant(desk: Desk, name: str) -> None:
    new = {"name": name, "email": f"{name.lower()}@hostal.test", "position": "Beraterin", "startsOn": "2026-01-01"}
    user = data(desk.admin.post("/api/users", json=new))["id"]
    billing = {"enabled": True, "recipient": "Buchhaltung", "recipientEmail": f"{name}@example.ch", "autoSend": True}
    data(desk.admin.put(f"/api/users/{user}/statement-settings", json=billing))
    day = str(date.today().replace(day=1) - timedelta(days=45))  # noqa: DTZ011 - any day of a period that is over
    work = {"externalId": name, "userId": user, "clientId": "c1", "clientName": "Alpha AG", "date": day, "minutes": 90}
    data(desk.admin.post("/api/work-times", json={"workTimes": [work]}))


def statements(desk: Desk, *names: str) -> list[dict[str, Any]]:
    return [one for one in data(desk.admin.get("/api/statements")) if one["consultant"] in names]


def sent(desk: Desk, name: str) -> dict[str, Any]:
    """The statement of somebody new, once it has left by itself."""
    consultant(desk, name)
    data(desk.admin.post("/api/statements/run"))
    until(lambda: [one["status"] for one in statements(desk, name)] == ["sent"], PATIENCE, f"the statement of {name}")
    return statements(desk, name)[0]


def recipients(desk: Desk, *names: str) -> list[str]:
    found = [mail["recipient"] for mail in desk.effects(provider="smtp")]
    return sorted(address for address in found if address.removesuffix("@example.ch") in names)


def downloaded(desk: Desk, path: str) -> str:
    answer = desk.admin.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"%PDF-")
    return hashlib.sha256(answer.content).hexdigest()


def test_statements_survive_a_store_that_is_away_and_a_kill_and_are_stored_sent_and_read_once(
    desk: Desk, objects: ObjectStore
) -> None:
    names = "Alma", "Berta", "Carla"
    for name in names:
        consultant(desk, name)
    objects.kill()
    data(desk.admin.post("/api/statements/run"))
    waits = "select count(*) from backoffice_worker.effects where kind = 'statement-pdf' and outcome = 'undone'"
    until(lambda: desk.rows(waits) == [(3,)], 60, "the store is asked for each, in vain")
    assert {one["status"] for one in statements(desk, *names)} == {"requested"}
    worker = desk.system.cluster.services["backoffice-worker"]
    worker.kill()
    objects.start()
    worker.start()
    until(lambda: {one["status"] for one in statements(desk, *names)} == {"sent"}, PATIENCE, "each is made and sent")
    assert recipients(desk, *names) == ["Alma@example.ch", "Berta@example.ch", "Carla@example.ch"]
    for one in statements(desk, *names):
        assert downloaded(desk, f"/api/statements/{one['id']}/pdf") == one["sha256"]
        assert objects.keys(f"1/statement/{one['id']}/1") == [f"{one['sha256']}.pdf"]
    assert desk.rows("select count(*) from reservation_api.documents where content is not null") == [(0,)]
    assert desk.rows("select count(*) from backoffice_worker.effects where receipt #>> '{file,content}' <> ''") == [
        (0,)
    ]


def test_an_edition_that_is_made_anew_leaves_the_old_one_as_it_was(desk: Desk) -> None:
    before = sent(desk, "Dora")
    path = f"/api/statements/{before['id']}"
    data(desk.admin.post(f"{path}/regenerate"))
    until(lambda: data(desk.admin.get(path))["status"] == "generated", 60, "the second edition")
    now = data(desk.admin.get(path))
    assert now["edition"] == 2
    assert downloaded(desk, f"{path}/pdf") == now["sha256"] != before["sha256"]
    assert downloaded(desk, f"{path}/pdf?edition=1") == before["sha256"]
    assert recipients(desk, "Dora") == ["Dora@example.ch"], "what is made anew is sent by hand"


def test_a_store_that_is_away_costs_a_download_and_nothing_else(desk: Desk, objects: ObjectStore) -> None:
    path = f"/api/statements/{sent(desk, 'Eva')['id']}"
    objects.kill()
    answer = desk.admin.get(f"{path}/pdf")
    assert (answer.status_code, answer.json()["title"]) == (503, "Store of documents is away")
    assert data(desk.admin.get(path))["sha256"]
    desk.sent(desk.create("+573004440009")["id"])
    objects.start()
    assert downloaded(desk, f"{path}/pdf")

"""The desk over HTTP: who may see what, and clear answers to what cannot be done."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from llegada.events.event import Event
from llegada.messaging.dead_letters import Keeper, read
from llegada.messaging.envelope import Lane, first
from llegada.messaging.transaction import Database

DESK = "/api/admin/dead-letters"
Token = Callable[..., str]
Dead = Callable[..., Awaitable[None]]


@pytest.fixture
def dead(database: Database, link: Callable[..., Event]) -> Dead:
    """Stores a dead letter."""

    async def make(*, organization: int = 1, reservation_id: int = 1, reason: str = "refused") -> None:
        await _store(database, link(reservation_id, 1, organization), reason)

    return make


async def _store(database: Database, event: Event, reason: str) -> None:
    envelope = first(event, source="tests", correlation_id=str(uuid4()), lane=Lane.INTERACTIVE, traceparent=None)
    headers = {
        "gave_up": "trying again cannot help", "error_class": "permanent", "error_code": "422", "error": reason,
        "queue": "notification-worker.collect", "failed_at": envelope.time.isoformat(),
    }  # fmt: skip
    body = event.model_dump_json().encode()
    await Keeper(database).keep(
        read("notification-worker.dead-letters", "notification-worker", envelope, headers, body)
    )


def as_(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_an_admin_sees_the_own_organizations_and_an_operator_all(
    client: httpx.AsyncClient, dead: Dead, token: Token
) -> None:
    await dead(organization=1)
    await dead(organization=2)
    admin = (await client.get(DESK)).json()
    assert [row["organizationId"] for row in admin["data"]] == [1]
    operator = (await client.get(DESK, headers=as_(token(9, ["operator"])))).json()
    assert operator["meta"]["total"] == 2
    foreign = next(row["id"] for row in operator["data"] if row["organizationId"] == 2)
    assert (await client.get(f"{DESK}/{foreign}")).status_code == 404
    assert (await client.post(f"{DESK}/discard", json={"ids": [foreign], "reason": "x"})).json()["data"] == {
        "discarded": 0
    }
    assert (await client.post(f"{DESK}/replays", json={"ids": [foreign]})).status_code == 409


async def test_staff_without_the_role_see_nothing(client: httpx.AsyncClient, token: Token) -> None:
    answer = await client.get(DESK, headers=as_(token(1, ["staff"])))
    assert answer.status_code == 403
    assert "operator" in answer.json()["detail"]


async def test_one_shows_body_reason_and_who_looked(client: httpx.AsyncClient, dead: Dead) -> None:
    await dead()
    (row,) = (await client.get(DESK)).json()["data"]
    assert {"queue", "reason", "errorCode", "fingerprint", "state", "failedAt", "attempts"} <= set(row)
    for _ in range(2):
        found = (await client.get(f"{DESK}/{row['id']}")).json()["data"]
    assert found["body"]["url"] == "https://checkout.test/1"
    assert [(entry["action"], entry["actor"]) for entry in found["log"]] == [("view", "staff@test")]
    assert [one["state"] for one in found["passes"]] == ["open"]


async def test_groups_put_failures_of_one_kind_together(client: httpx.AsyncClient, dead: Dead) -> None:
    for number in range(3):
        await dead(reservation_id=number + 1, reason=f"amount {number} is refused")
    await dead(reservation_id=9, reason="the account is closed")
    groups = (await client.get(f"{DESK}/groups")).json()
    assert [group["count"] for group in groups["data"]] == [3, 1]
    assert groups["meta"]["total"] == 2


async def test_a_replay_is_accepted_and_shown(client: httpx.AsyncClient, dead: Dead) -> None:
    await dead()
    made = await client.post(f"{DESK}/replays", json={"all": True, "rate": 50})
    assert (made.status_code, made.json()["data"]["total"]) == (202, 1)
    number = made.json()["data"]["id"]
    shown = (await client.get(f"{DESK}/replays/{number}")).json()["data"]
    assert (shown["state"], shown["queued"], shown["actor"]) == ("running", 1, "staff@test")
    stopped = (await client.post(f"{DESK}/replays/{number}/stop")).json()["data"]
    assert stopped == {"id": number, "openAgain": 1}
    assert (await client.post(f"{DESK}/replays/{number}/stop")).status_code == 409
    assert (await client.get(f"{DESK}/replays/999")).status_code == 404


async def test_a_dry_run_says_what_would_happen_and_does_nothing(
    client: httpx.AsyncClient, dead: Dead, database: Database, reservation: Callable[[], Awaitable[int]]
) -> None:
    number = await reservation()
    await dead(reservation_id=number)
    await dead(reservation_id=4242)
    answer = await client.post(f"{DESK}/replays", json={"all": True, "dryRun": True})
    assert answer.json()["data"] == {
        "total": 2, "wouldBeTried": 2, "alreadyDone": 0, "newerWanted": 0, "cannotBeRead": 0,
    }  # fmt: skip
    steps = {"paymentLink": {"intent": 1, "fact": {"step": "paymentLink", "state": "completed", "intent": 1}}}
    await database.fetchrow("update reservations set steps = $1 where id = $2", json.dumps(steps), number)
    answer = await client.post(f"{DESK}/replays", json={"all": True, "dryRun": True})
    assert (answer.json()["data"]["alreadyDone"], answer.json()["data"]["wouldBeTried"]) == (1, 1)
    assert (await client.get(f"{DESK}/replays")).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("replays", {}),
        ("replays", {"all": True, "rate": 0}),
        ("replays", {"all": True, "rate": 100_000}),
        ("replays", {"ids": []}),
        ("replays", {"ids": ["x"]}),
        ("replays", {"all": True, "speed": 3}),
        ("discard", {"all": True}),
        ("discard", {"all": True, "reason": "  "}),
    ],
)
async def test_bad_input_is_refused_in_words(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    answer = await client.post(f"{DESK}/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_an_edit_that_is_no_such_event_is_refused(client: httpx.AsyncClient, dead: Dead) -> None:
    await dead()
    (row,) = (await client.get(DESK)).json()["data"]
    body = (await client.get(f"{DESK}/{row['id']}")).json()["data"]["body"]
    refused = await client.put(f"{DESK}/{row['id']}/body", json={"body": {**body, "url": None}})
    assert refused.status_code == 422
    assert "url" in refused.json()["detail"]
    changed = await client.put(f"{DESK}/{row['id']}/body", json={"body": {**body, "url": "https://checkout.test/new"}})
    assert list(changed.json()["data"]["changed"]) == ["url"]
    after = (await client.get(f"{DESK}/{row['id']}")).json()["data"]
    assert after["editedBody"]["url"] == "https://checkout.test/new"
    assert after["body"] == body
    assert after["edited"]


async def test_discarded_ones_leave_the_list_and_keep_their_reason(client: httpx.AsyncClient, dead: Dead) -> None:
    await dead()
    (row,) = (await client.get(DESK)).json()["data"]
    assert (await client.post(f"{DESK}/discard", json={"ids": [row["id"]], "reason": "paid in cash"})).json()[
        "data"
    ] == {"discarded": 1}
    assert (await client.get(DESK)).json()["data"] == []
    assert len((await client.get(DESK, params={"state": ""})).json()["data"]) == 1
    log = (await client.get(f"{DESK}/{row['id']}")).json()["data"]["log"]
    assert log[0]["detail"] == {"reason": "paid in cash"}

"""People are numbered without gaps; their life cycle is shown as the worker tells it, whatever the order."""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest

from llegada.events.event import Event
from llegada.events.file import File
from llegada.events.job import JobFailed
from llegada.events.person import (
    ContractChanged,
    DocumentReady,
    DocumentRequested,
    LifecycleChanged,
    LifecycleCreated,
    OffboardingStarted,
)
from llegada.messaging.envelope import Lane, caused, first
from llegada.messaging.failures import Transient
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from reservation_api.timeline.projection import Projection

NEW = {"name": "Luz Marina", "email": "luz@hostal.test", "position": "Recepcionista", "startsOn": "2026-11-01"}


async def project(database: Database, *events: Event) -> None:
    for event in events:
        envelope = first(event, source="tests", correlation_id="1", lane=Lane.BULK, traceparent=None)
        async with database.transaction() as tx:
            await Projection().project([Delivered(event, envelope)], tx)


async def create(client: httpx.AsyncClient, **changes: Any) -> int:
    answer = await client.post("/api/users", json={**NEW, **changes})
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["data"]["id"]
    return number


def lifecycle(user: int, revision: int, **changes: Any) -> LifecycleCreated | LifecycleChanged:
    kind = LifecycleCreated if revision == 1 else LifecycleChanged
    known = {"organization_id": 1, "user_id": user, "revision": revision, "status": "onboarding", "progress": 14}
    more = {"steps": {"arl": {"status": "registered"}}, "what": f"step {revision}", "by": "admin"}
    return kind.model_validate({**known, **more, **changes})


def certificate(user: int) -> DocumentRequested:
    employment = {"position": "Recepcionista", "starts_on": date(2026, 1, 1)}
    about = {"name": "Luz", "employer": "Hostal", "employment": employment, "issued_on": date(2026, 12, 31)}
    known = {"organization_id": 1, "user_id": user, "key": uuid4(), "kind": "certificate", **about}
    return DocumentRequested.model_validate(known)


async def told(database: Database, kind: str) -> int:
    async with database.connection() as connection:
        number: int = await connection.fetchval("select count(*) from outbox where type = $1", kind)
    return number


async def test_people_are_numbered_without_gaps_and_each_once(client: httpx.AsyncClient, database: Database) -> None:
    wanted = [client.post("/api/users", json={**NEW, "email": f"p{n % 4}@hostal.test"}) for n in range(12)]
    codes = [answer.status_code for answer in await asyncio.gather(*wanted)]
    assert (codes.count(201), codes.count(409)) == (4, 8)
    listed = (await client.get("/api/users")).json()
    assert [user["number"] for user in listed["data"]] == [1, 2, 3, 4]
    assert await told(database, "user.created") == 4


async def test_a_life_cycle_is_pending_until_the_worker_tells_it_and_then_the_newest_is_true(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await create(client)
    path = f"/api/users/{user}/lifecycle"
    assert (await client.get(path)).json()["data"]["status"] == "pending"
    newest = lifecycle(user, 3, status="active", progress=100)
    await project(database, lifecycle(user, 1), newest, lifecycle(user, 2), newest)
    shown = (await client.get(path)).json()["data"]
    assert (shown["status"], shown["progress"], shown["revision"]) == ("active", 100, 3)
    assert [entry["what"] for entry in shown["history"]] == ["step 1", "step 2", "step 3"]


async def test_a_changed_contract_is_recorded_with_before_and_after_and_told(
    client: httpx.AsyncClient, database: Database, token: Callable[..., str]
) -> None:
    user = await create(client, salary=1_800_000)
    path = f"/api/users/{user}/contract-changes"
    change = {"effectiveOn": "2027-01-01", "position": "Administradora", "salary": 2_400_000, "reason": "promotion"}
    changed = await client.post(path, json=change)
    assert (changed.status_code, changed.json()["data"]["position"]) == (201, "Administradora")
    both = [client.post(path, json={"effectiveOn": "2027-02-01", "salary": 2_500_000 + n}) for n in range(2)]
    assert [answer.status_code for answer in await asyncio.gather(*both)] == [201, 201]
    newest, _, oldest = (await client.get(path)).json()["data"]
    assert (newest["number"], oldest["number"], oldest["reason"]) == (3, 1, "promotion")
    assert (oldest["before"]["position"], oldest["before"]["salary"]) == ("Recepcionista", 1_800_000)
    assert (oldest["after"]["position"], oldest["after"]["salary"]) == ("Administradora", 2_400_000)
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'user.contract_changed' order by id")
    events = [ContractChanged.model_validate_json(row["body"]) for row in rows]
    assert [(event.intent, event.what) for event in events] == [(1, "position, salary"), (2, "salary"), (3, "salary")]
    assert events[0].employment.position == "Administradora"
    strangers = {"Authorization": f"Bearer {token(organization=2)}"}
    assert (await client.get(path, headers=strangers)).status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"effectiveOn": "2027-01-01"}, "nothing"),
        ({"effectiveOn": "2027-01-01", "position": "Recepcionista"}, "nothing"),
        ({"effectiveOn": "2026-10-31", "position": "Jefa"}, "effectiveOn"),
        ({"effectiveOn": "2027-01-01", "contractType": "fixed_term"}, "endsOn"),
        ({"effectiveOn": "2027-01-01", "endsOn": "2026-11-01"}, "endsOn"),
    ],
)
async def test_a_contract_that_contradicts_itself_is_refused(
    client: httpx.AsyncClient, database: Database, change: dict[str, Any], said: str
) -> None:
    user = await create(client)
    refused = await client.post(f"/api/users/{user}/contract-changes", json=change)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]
    assert await told(database, "user.contract_changed") == 0


async def test_whoever_leaves_keeps_the_contract(client: httpx.AsyncClient) -> None:
    user = await create(client)
    await client.post(f"/api/users/{user}/offboarding", json={"exitOn": "2026-12-31"})
    change = {"effectiveOn": "2027-01-01", "position": "Jefa"}
    assert (await client.post(f"/api/users/{user}/contract-changes", json=change)).status_code == 409


async def test_a_step_is_recorded_and_told(client: httpx.AsyncClient, database: Database) -> None:
    user = await create(client)
    result = {"status": "registered", "number": "A-1", "provider": "SURA"}
    assert (await client.put(f"/api/users/{user}/lifecycle/arl", json=result)).status_code == 200
    assert await told(database, "lifecycle.step_recorded") == 1
    await project(database, lifecycle(user, 1))
    assert (await client.put(f"/api/users/{user}/lifecycle/certificate", json=result)).status_code == 409
    assert (await client.put(f"/api/users/{user}/lifecycle/dreams", json=result)).status_code == 422


async def test_who_leaves_leaves_once_and_is_gone_when_archived(client: httpx.AsyncClient, database: Database) -> None:
    user = await create(client)
    leaving = {"exitOn": "2026-12-31", "reason": "moves away"}
    assert (await client.post(f"/api/users/{user}/offboarding", json=leaving)).status_code == 200
    assert (await client.post(f"/api/users/{user}/offboarding", json=leaving)).status_code == 409
    await project(database, lifecycle(user, 2, status="archived", progress=100))
    assert (await client.get(f"/api/users/{user}")).json()["data"]["active"] is False


async def test_a_document_is_ordered_made_and_downloaded(client: httpx.AsyncClient, database: Database) -> None:
    user = await create(client)
    ordered = await client.post(f"/api/users/{user}/documents", json={"kind": "contract"})
    assert ordered.status_code == 201, ordered.text
    key = ordered.json()["data"]["key"]
    [listed] = (await client.get(f"/api/users/{user}/documents")).json()["data"]
    assert (listed["state"], listed["kind"]) == ("requested", "contract")
    file = File.of("contract.pdf", b"%PDF-1.7", 1)
    known = {"organization_id": 1, "user_id": user, "key": key, "kind": "contract", "file": file}
    await project(database, DocumentReady.model_validate(known))
    answer = await client.get(f"/api/users/{user}/documents/{key}/pdf")
    assert (answer.content, answer.headers["etag"]) == (b"%PDF-1.7", f'"{file.sha256}"')
    assert (await client.get(f"/api/users/{user}/documents/{uuid4()}/pdf")).status_code == 404
    async with database.connection() as connection:
        await connection.execute("update documents set content = $1 where key = $2", b"%PDF-1.8", key)
    damaged = await client.get(f"/api/users/{user}/documents/{key}/pdf")
    assert (damaged.status_code, "damaged" in damaged.json()["detail"]) == (503, True)


async def test_a_certificate_says_what_holds_and_a_contract_what_will(
    client: httpx.AsyncClient, database: Database
) -> None:
    today = datetime.now(ZoneInfo("America/Bogota")).date()
    user = await create(client, startsOn=str(today - timedelta(days=60)), salary=1_800_000)
    path = f"/api/users/{user}"

    async def ordered(kind: str) -> tuple[str, int]:
        assert (await client.post(f"{path}/documents", json={"kind": kind})).status_code == 201
        async with database.connection() as connection:
            newest = "select body from outbox where type = 'document.requested' order by id desc limit 1"
            told = DocumentRequested.model_validate_json(await connection.fetchval(newest)).employment
        assert told.salary is not None
        return told.position, told.salary.amount

    for change in (
        {"effectiveOn": str(today + timedelta(days=30)), "position": "Administradora"},
        {"effectiveOn": str(today), "salary": 1_900_000},
        {"effectiveOn": str(today + timedelta(days=60)), "salary": 2_400_000},
    ):
        assert (await client.post(f"{path}/contract-changes", json=change)).status_code == 201
    assert await ordered("certificate") == ("Recepcionista", 1_900_000)
    assert await ordered("contract") == ("Administradora", 2_400_000)
    leaving = {"exitOn": str(today - timedelta(days=1))}
    assert (await client.post(f"{path}/offboarding", json=leaving)).status_code == 200
    assert await ordered("certificate") == ("Recepcionista", 1_800_000), "what held on the last day"
    async with database.connection() as connection:
        body = await connection.fetchval("select body from outbox where type = 'user.offboarding_started'")
    left = OffboardingStarted.model_validate_json(body)
    assert left.employment is not None
    assert (left.employment.position, left.contract) == ("Recepcionista", 3)


async def test_a_certificate_that_the_worker_orders_is_listed_as_well(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await create(client)
    await project(database, certificate(user))
    [listed] = (await client.get(f"/api/users/{user}/documents")).json()["data"]
    assert listed["state"] == "requested"


async def test_a_certificate_that_failed_has_failed_whichever_is_told_first(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await create(client)
    ordered = certificate(user)
    envelope = first(ordered, source="tests", correlation_id="1", lane=Lane.BULK, traceparent=None)
    told = JobFailed.model_validate(
        {
            "organization_id": 1,
            "job": "backoffice-worker.write-document",
            "cause_type": ordered.type,
            "reason": "no letter for U+6F22",
            "attempt": 1,
            "attempts": 3,
            "error_class": "permanent",
        }
    )
    failed = Delivered[Event](told, caused(told, envelope, subscriber="tests", source="tests", ordinal="0"))
    with pytest.raises(Transient):
        async with database.transaction() as tx:
            await Projection().project([failed], tx)
    async with database.transaction() as tx:
        await Projection().project([failed, Delivered(ordered, envelope)], tx)
    [listed] = (await client.get(f"/api/users/{user}/documents")).json()["data"]
    assert (listed["state"], listed["reason"]) == ("failed", "no letter for U+6F22")


async def test_a_certificate_that_is_ready_stays_so_whatever_is_told_late(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await create(client)
    ordered = certificate(user)
    envelope = first(ordered, source="tests", correlation_id="1", lane=Lane.BULK, traceparent=None)
    known = {"organization_id": 1, "user_id": user, "key": ordered.key, "kind": "certificate"}
    made = DocumentReady.model_validate({**known, "file": File.of("c.pdf", b"%PDF-1.7", 1)})
    about = {"organization_id": 1, "job": "w.d", "cause_type": ordered.type, "reason": "r", "attempt": 1}
    told = JobFailed.model_validate({**about, "attempts": 3, "error_class": "permanent"})
    for event in (made, told, ordered):
        late = envelope if event is ordered else caused(event, envelope, subscriber="t", source="t", ordinal="0")
        async with database.transaction() as tx:
            await Projection().project([Delivered(event, late)], tx)
    [listed] = (await client.get(f"/api/users/{user}/documents")).json()["data"]
    assert (listed["state"], listed["reason"]) == ("ready", None)


@pytest.mark.parametrize(
    "change", [{"contractType": "fixed_term"}, {"endsOn": "2026-01-01"}, {"email": "nobody"}, {"salary": 0}]
)
async def test_impossible_people_are_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    assert (await client.post("/api/users", json={**NEW, **change})).status_code == 422


async def test_people_are_the_admins_business_and_their_own_organizations(
    client: httpx.AsyncClient, token: Callable[..., str]
) -> None:
    user = await create(client)
    staff = {"Authorization": f"Bearer {token(roles=['staff'])}"}
    assert (await client.get(f"/api/users/{user}", headers=staff)).status_code == 403
    stranger = {"Authorization": f"Bearer {token(organization=2)}"}
    assert (await client.get(f"/api/users/{user}", headers=stranger)).status_code == 404
    assert (await client.get(f"/api/users/{user}/lifecycle", headers=stranger)).status_code == 404

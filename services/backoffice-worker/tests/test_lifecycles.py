"""A person's life cycle is begun once, goes on step by step, and ends with a certificate."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
import pytest_asyncio

from backoffice_worker.handlers import BackOffice
from backoffice_worker.lifecycles import CONTRACT_CHANGE, OFFBOARDING, ONBOARDING
from backoffice_worker.rendering import Typesetter
from backoffice_worker.store import Store
from llegada.events.person import (
    ContractChanged,
    DocumentReady,
    DocumentRequested,
    LifecycleChanged,
    LifecycleCreated,
    LifecycleStepRecorded,
    OffboardingStarted,
    UserCreated,
)
from llegada.events.task import TaskCreated, TaskFollowed, TaskStatusChanged
from llegada.messaging.effects import Attempt
from llegada.messaging.failures import Transient
from llegada.messaging.transaction import Database
from llegada.testing.plugin import ServiceDatabase

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("backoffice_worker")


@pytest.fixture
def office(database: Database) -> BackOffice:
    return BackOffice(Store(database), Typesetter(1))


def user(**changes: Any) -> UserCreated:
    known = {
        "organization_id": 1,
        "user_id": 3,
        "name": "Luz Marina",
        "email": "luz@hostal.test",
        "person": "luz@hostal.test",
        "employment": {"position": "Recepcionista", "starts_on": date(2026, 11, 1), "salary": {"amount": 1_800_000}},
        "created_at": NOW,
    }
    return UserCreated.model_validate({**known, **changes})


def recorded(step: str, status: str = "done", **more: Any) -> LifecycleStepRecorded:
    known = {"organization_id": 1, "user_id": 3, "step_name": step, "status": status, "by": "admin@hostal"}
    return LifecycleStepRecorded.model_validate({**known, **more})


async def call(database: Database, handler: Any, event: Any) -> list[Any]:
    async with database.transaction() as tx:
        told: list[Any] = await handler(event, tx)
        return told


async def test_a_user_has_one_life_cycle_with_its_tasks_however_often_the_event_arrives(
    office: BackOffice, database: Database
) -> None:
    created, *tasks = await call(database, office.begin, user(not_required=("eps",)))
    assert isinstance(created, LifecycleCreated)
    assert (created.status, created.progress, created.revision) == ("onboarding", 0, 1)
    assert [task.step_name for task in tasks] == [step for step in ONBOARDING if step != "eps"]
    assert tasks[0].title["es"] == "Afiliar a la ARL: Luz Marina"
    assert await call(database, office.begin, user(name="Another")) == []


async def test_a_recorded_step_is_progress_and_does_its_task(office: BackOffice, database: Database) -> None:
    await call(database, office.begin, user())
    changed, followed = await call(database, office.record_step, recorded("arl", "registered", number="A-1"))
    assert isinstance(changed, LifecycleChanged)
    assert (changed.progress, changed.steps["arl"].number, changed.by) == (14, "A-1", "admin@hostal")
    assert isinstance(followed, TaskFollowed)
    assert (followed.step_name, followed.status) == ("arl", "done")
    assert await call(database, office.record_step, recorded("arl", "registered", number="A-1")) == []


async def test_a_task_that_was_done_by_hand_does_its_step_and_reopened_opens_it(
    office: BackOffice, database: Database
) -> None:
    _, *tasks = await call(database, office.begin, user())
    moved = {"organization_id": 1, "key": tasks[0].key, "user_id": 3, "step_name": "arl", "by": "luz"}
    done = TaskStatusChanged.model_validate({**moved, "status": "done"})
    [changed] = await call(database, office.note_task, done)
    assert (changed.steps["arl"].status, changed.revision) == ("registered", 2)
    assert await call(database, office.note_task, done) == []
    [again] = await call(database, office.note_task, done.model_copy(update={"status": "open"}))
    assert (again.steps["arl"].status, again.progress) == ("pending", 0)


def contract(intent: int, **employment: Any) -> ContractChanged:
    known = {"organization_id": 1, "user_id": 3, "intent": intent, "effective_on": date(2027, 1, 1)}
    more = {"what": "position", "by": "admin@hostal", "changed_at": NOW}
    job = {**user().employment.model_dump(), **employment}
    return ContractChanged.model_validate({**known, **more, "employment": job})


async def test_a_changed_contract_is_a_phase_with_its_tasks_and_ends_in_active(
    office: BackOffice, database: Database
) -> None:
    await call(database, office.begin, user())
    [early] = await call(database, office.change_contract, contract(1, position="Jefa de turno"))
    assert (early.status, early.revision) == ("onboarding", 2), "whoever is arriving signs the new one"
    for step in ONBOARDING:
        await call(database, office.record_step, recorded(step))
    changed, *tasks = await call(database, office.change_contract, contract(2, position="Administradora"))
    assert (changed.status, changed.progress) == ("contract_change", 0)
    assert changed.what == "contract changed from 2027-01-01: position"
    assert [task.step_name for task in tasks] == list(CONTRACT_CHANGE)
    assert await call(database, office.change_contract, contract(2)) == [], "told twice"
    assert await call(database, office.change_contract, contract(1)) == [], "told late"
    states = []
    for step in CONTRACT_CHANGE:
        told, followed = await call(database, office.record_step, recorded(step))
        states.append((told.status, told.progress, followed.status))
    assert states == [("contract_change", 50, "done"), ("active", 100, "done")]
    again, *more = await call(database, office.change_contract, contract(3, position="Gerente"))
    assert (again.status, again.progress) == ("contract_change", 0)
    assert {task.key for task in more}.isdisjoint(task.key for task in tasks), "each change has tasks of its own"
    leaves = {"organization_id": 1, "user_id": 3, "exit_on": date(2027, 6, 30), "by": "admin", "started_at": NOW}
    await call(database, office.offboard, OffboardingStarted.model_validate(leaves))
    assert await call(database, office.change_contract, contract(4, position="Directora")) == []
    for step in OFFBOARDING:
        last = await call(database, office.record_step, recorded(step))
    [certificate] = [event for event in last if isinstance(event, DocumentRequested)]
    assert certificate.employment.position == "Directora", "a change that was told late is in the certificate"


async def test_the_last_certificate_says_what_held_on_the_last_day(office: BackOffice, database: Database) -> None:
    await call(database, office.begin, user())
    await call(database, office.change_contract, contract(1, position="Administradora"))
    held = user().employment.model_copy(update={"position": "Cajera"})
    leaves = {"organization_id": 1, "user_id": 3, "exit_on": date(2026, 12, 31), "by": "admin", "started_at": NOW}
    told = OffboardingStarted.model_validate({**leaves, "employment": held, "contract": 2})
    await call(database, office.offboard, told)
    late = contract(2, position="Gerente")
    assert await call(database, office.change_contract, late) == [], "it is effective after the last day"
    for step in OFFBOARDING:
        last = await call(database, office.record_step, recorded(step))
    [certificate] = [event for event in last if isinstance(event, DocumentRequested)]
    assert certificate.employment.position == "Cajera"


async def test_from_the_first_step_to_the_certificate(office: BackOffice, database: Database) -> None:
    await call(database, office.begin, user())
    states = []
    for step in ONBOARDING:
        changed, *_ = await call(database, office.record_step, recorded(step))
        states.append((changed.progress, changed.status))
    assert states[-2:] == [(85, "onboarding"), (100, "active")]
    leaves = {"organization_id": 1, "user_id": 3, "exit_on": date(2026, 12, 31), "by": "admin", "started_at": NOW}
    started, *tasks = await call(database, office.offboard, OffboardingStarted.model_validate(leaves))
    assert (started.status, started.progress) == ("offboarding", 0)
    assert [task.step_name for task in tasks if isinstance(task, TaskCreated)] == list(OFFBOARDING)
    assert await call(database, office.offboard, OffboardingStarted.model_validate(leaves)) == []
    for step in OFFBOARDING:
        told = await call(database, office.record_step, recorded(step))
    changed, certificate, _task = told
    assert (changed.status, changed.progress) == ("archived", 100)
    assert isinstance(certificate, DocumentRequested)
    assert (certificate.kind, certificate.exit_on) == ("certificate", date(2026, 12, 31))
    assert await call(database, office.record_step, recorded("arl", "deregistered")) == [], "archived is the end"


async def test_a_step_that_is_recorded_before_the_life_cycle_began_waits(
    office: BackOffice, database: Database
) -> None:
    with pytest.raises(Transient):
        await call(database, office.record_step, recorded("arl"))


@pytest.mark.parametrize("kind", ["certificate", "contract"])
@pytest.mark.parametrize("language", ["de", "en", "es"])
async def test_certificate_and_contract_are_set_in_every_language(office: BackOffice, kind: str, language: str) -> None:
    known = {
        "organization_id": 1,
        "user_id": 3,
        "key": "7a1b5d5e-1c1c-5a39-9a3e-2c8f8b7d6a55",
        "kind": kind,
        "name": "Luz Marina Ñáñez",
        "employer": "Hostal Demo S.A.S.",
        "language": language,
        "employment": user().employment,
        "exit_on": date(2026, 12, 31),
        "issued_on": date(2026, 12, 31),
    }
    effect = office.write_document(DocumentRequested.model_validate(known))
    ready = await effect.perform(Attempt(1, "r", NOW))
    assert isinstance(ready, DocumentReady)
    assert ready.file.read().startswith(b"%PDF-")
    assert ready.file.pages == 1

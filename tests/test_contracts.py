"""Events stay readable for everybody who reads them; what is published is consumed; documents are true."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llegada.events.event import Event, event_types
from llegada.runtime.cli import describe
from llegada.runtime.discovery import installed
from llegada_dev import contracts

ROOT = Path(__file__).parents[1]
EVENTS = sorted(event_types().values(), key=lambda event: event.type)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_the_committed_schema_is_the_models(event: type[Event]) -> None:
    path = contracts.SCHEMAS / contracts.schema_name(event)
    assert path.read_text() == contracts.written(contracts.schema_of(event)), "run `make schemas`"


def test_every_committed_schema_has_its_event() -> None:
    known = {contracts.schema_name(event) for event in EVENTS}
    assert {path.name for path in contracts.SCHEMAS.glob("*.json")} == known


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_schemas_stay_compatible_with_those_of_the_main_branch(event: type[Event]) -> None:
    path = (contracts.SCHEMAS / contracts.schema_name(event)).relative_to(ROOT)
    shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        pytest.skip("new in this change")
    assert contracts.incompatible(json.loads(shown.stdout), contracts.schema_of(event)) == []


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"properties": {}}, ["a: removed"]),
        ({"properties": {"a": {"type": "string"}}}, ["a: was {'type': 'integer'}, is {'type': 'string'}"]),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["b"]}, ["b: required now"]),
        ({"properties": {"a": {"type": "integer", "title": "A"}, "b": {"default": 1}}}, []),
    ],
)
def test_the_compatibility_check_finds_what_breaks_a_reader(new: dict[str, Any], said: list[str]) -> None:
    assert contracts.incompatible({"properties": {"a": {"type": "integer"}}}, new) == said


def test_each_event_that_someone_consumes_is_published_by_someone() -> None:
    by_the_api = {
        "OrganizationConfigured",
        "NotificationStatus",
        "GuestMessageReceived",
        "PaymentWebhookReceived",
        "ReservationCreated",
        "ReservationContactUpdated",
        "ReservationCheckedIn",
        "ReservationPinRequested",
        "ReservationInvitationDue",
        "ReservationCancelled",
        "ReservationCheckedOut",
        "SireRegistrationRequested",
        "SireResultRecorded",
        "StatementRequested",
        "StatementMailRequested",
        "TaskRulesConfigured",
        "TaskStatusChanged",
        "UserCreated",
        "ContractChanged",
        "OffboardingStarted",
        "LifecycleStepRecorded",
    }
    subscriptions = [s for service in installed().values() for s in service.subscriptions]
    published = {event.__name__ for s in subscriptions for event in s.publishes} | by_the_api
    published |= {"JobRetrying", "JobFailed", "JobSkipped"}  # by every job about itself (messaging.outcomes)
    consumed = {event.__name__ for s in subscriptions for event in s.consumes if event is not Event}
    assert consumed <= published


def test_the_openapi_documents_are_the_apps() -> None:
    documents = contracts.openapi()
    assert documents
    for path, document in documents.items():
        assert path.read_text() == contracts.written(document), "run `make schemas`"


@pytest.mark.parametrize("name", list(installed()))
def test_a_services_readme_says_what_its_signatures_say(name: str) -> None:
    readme = (ROOT / "services" / name / "README.md").read_text()
    found = re.search(r"<!-- describe -->\n```\n(.*?)```\n<!-- /describe -->", readme, re.DOTALL)
    lines = [describe(f"{name}.{s.action}", s) for s in installed()[name].subscriptions]
    assert found is not None
    assert found.group(1).splitlines() == lines

"""“Why not sent?”: every open step has one sentence that says why, and one that says what to do next.

Goes through every class of failure, every code of every provider's table, and every reason that the sources hold.
"""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from llegada.events.event import StepReport, StepState
from llegada.events.job import JobFailed, JobRetrying, JobSkipped
from llegada.events.notification import NotificationReady
from llegada.events.sire import SireRefused, SireSubmissionReady
from llegada.messaging import failures
from llegada.messaging.envelope import Envelope, Lane
from llegada.messaging.failures import Failure, FailureClass, Postponed, Wait
from llegada.messaging.outcomes import Outcomes
from llegada.messaging.retry import RetryPolicy
from lock_worker import ttlock
from notification_worker import mail, whatsapp
from payment_worker import bold
from reservation_api.timeline.steps import Steps, advance, close, expect, shown
from sire_worker import gateway

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
OUTCOMES = Outcomes("lock-worker", "issue", RetryPolicy(), "passcode")
SILENT = {FailureClass.LEASE_HELD, FailureClass.SLOT_LATER}
"""They take their turn within seconds, and say nothing: the step shows what it showed before."""
JARGON = re.compile(
    r"\b(json|http|lease|intent|socket|exception|payload|schema|envelope|delivery|amqp|handler|null|None|dead letter)\b"
)
CAUSE = Envelope(uuid4(), "reservation.checked_in", "tests", "reservation/17", NOW, 1, "c", lane=Lane.INTERACTIVE)


def is_said(step: dict[str, Any]) -> None:
    """One sentence why, and what to do next, in words of the front desk."""
    for words in (step["reason"], step["advice"]):
        assert words, step
        assert words[0].isupper() or words[0].isdigit(), words
        assert words[-1] in ".!?…", words
        assert "\n" not in words
        assert not JARGON.search(words), words
    assert step["reason"] != step["advice"]


def after(failure: Failure, attempt: int = 0) -> dict[str, Any]:
    """The step as staff see it once this has happened."""
    cause = Envelope(CAUSE.id, CAUSE.type, "tests", CAUSE.subject, NOW, 1, "c", attempt=attempt)
    settlement = OUTCOMES.failed(cause, b"{}", failure, None, 1, NOW)
    steps: Steps = expect({}, {"passcode": 1})
    for message in settlement.messages:
        cls = {cls.type: cls for cls in (JobRetrying, JobFailed)}.get(message.envelope.type)
        if cls is not None:
            report = cls.model_validate_json(message.body).report()
            assert report is not None
            steps = advance(steps, report)
    (step,) = shown(steps)
    return step


def made(cls: type[Failure], reason: str = "the lock is busy") -> Failure:
    if issubclass(cls, Postponed):
        return cls(reason, until=NOW + timedelta(hours=5), now=NOW, advice="Call.")
    if issubclass(cls, Wait):
        return cls(reason, retry_after=timedelta(seconds=5))
    return cls(reason)


def leaves(cls: type[Failure]) -> Iterator[type[Failure]]:
    for found in cls.__subclasses__():
        if found.__module__ == failures.__name__:
            yield from leaves(found) if found.__subclasses__() else [found]


CLASSES = list(leaves(Failure))


def test_every_class_of_failure_is_gone_through() -> None:
    assert {cls.failure_class for cls in CLASSES} == set(FailureClass)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("attempt", [0, 2])
def test_every_class_of_failure_says_why_and_what_next(cls: type[Failure], attempt: int) -> None:
    step = after(made(cls), attempt)
    is_said(step)
    assert ("The lock is busy" in step["reason"]) == (cls.failure_class not in SILENT)
    if step["state"] == "processing":
        assert step["nextTryAt"]


def answered(status: int, code: int | None = None) -> httpx.Response:
    body = {} if code is None else {"error": {"code": code, "message": "details"}}
    return httpx.Response(status, json=body)


def of_providers() -> Iterator[Failure]:
    for code in (*ttlock._TRANSIENT, *ttlock._WAIT, *ttlock._CREDENTIALS, *ttlock._PERMANENT, 424242):
        yield ttlock.failure_of(code)
    for code in (*whatsapp._RATE, *whatsapp._TRANSIENT, *whatsapp._CREDENTIALS, *whatsapp._PERMANENT, 424242):
        yield whatsapp.failure_of(answered(400, code))
    statuses = (400, 401, 403, 404, 405, 409, 418, 422, 429, 500, 502, 503, 504)
    for status in statuses:
        yield whatsapp.failure_of(answered(status))
        yield gateway.failure_of(answered(status))
        yield gateway.failure_of(answered(status, 7))
        yield bold.failure_of(answered(status))
    for status, text in ((421, ""), (452, "4.2.2 full"), (535, "5.7.8 no"), (550, "5.1.1 no"), (552, "5.2.2 full")):
        yield mail.failure_of(status, text)


@pytest.mark.parametrize("failure", list(of_providers()), ids=str)
@pytest.mark.parametrize("attempt", [0, 2])
def test_every_answer_of_a_provider_says_why_and_what_next(failure: Failure, attempt: int) -> None:
    is_said(after(failure, attempt))


NAMES = {cls.__name__: cls for cls in CLASSES}
SKIPPED = {"NotWanted", "skipped"}


def in_sources() -> Iterator[tuple[str, str]]:
    """Class and text of every reason that is written down in workers and library; what is filled in is `x`."""
    for path in sorted([*ROOT.glob("services/*-worker/src/**/*.py"), *ROOT.glob("shared/src/llegada/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                function = node.func
                name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
                text = _text(node.args[0])
                if text and name in {*NAMES, *SKIPPED, "AskStaff"}:
                    yield name, text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return ""


WRITTEN = sorted(set(in_sources()))


def test_reasons_are_found_in_the_sources() -> None:
    assert {name for name, _ in WRITTEN} >= {"Transient", "Permanent", "Credentials", "NotWanted", "OutcomeUnknown"}
    assert len(WRITTEN) > 60


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_every_reason_in_the_sources_is_said_in_plain_words(name: str, text: str) -> None:
    if name in SKIPPED:
        event = JobSkipped.model_validate({**about(), "reason": text})
        report = event.report()
        assert report is not None
        (step,) = shown(advance({}, report))
    else:
        cls = NAMES.get(name, failures.Permanent)
        if cls.failure_class in SILENT:
            return
        step = after(made(cls, text))
    is_said(step)
    assert not JARGON.search(text)


def about() -> dict[str, Any]:
    return {"organization_id": 1, "reservation_id": 17, "job": "a", "step_name": "passcode", "cause_type": "x"}


@pytest.mark.parametrize("message", ["confirmation", "welcome", "check_in_confirmation", "pin", "invitation"])
@pytest.mark.parametrize(
    ("fact", "words"),
    [(StepState.FAILED, "which has failed"), (StepState.PROCESSING, "It waits for the"), (None, "turn")],
)
def test_a_message_that_waits_says_for_what(message: str, fact: StepState | None, words: str) -> None:
    steps: Steps = expect({}, {message: 1})
    for name in ("paymentLink", "passcode") if fact else ():
        steps = advance(steps, StepReport(step=name, state=fact or StepState.PENDING, intent=1, job="a"))
    step = next(step for step in shown(steps) if step["step"] == message)
    is_said(step)
    assert words in step["reason"]


def test_a_message_says_what_has_failed_before_what_is_only_late() -> None:
    steps: Steps = expect({}, {"welcome": 1, "paymentLink": 1})
    steps = advance(steps, StepReport(step="passcode", state=StepState.FAILED, intent=1, job="a"))
    assert "door code, which has failed" in shown(steps)[0]["reason"]


def test_what_the_end_of_a_stay_closes_says_so() -> None:
    steps = close(expect({}, {"pin": 1}), ["pin"], "the guest has checked out")
    (step,) = shown(steps)
    is_said(step)
    assert step["reason"] == "The guest has checked out."


@pytest.mark.parametrize("result", ["rejected", "uncertain"])
@pytest.mark.parametrize("reason", [None, "el documento no existe"])
def test_what_the_authority_did_not_take_says_so(result: str, reason: str | None) -> None:
    known = {"organization_id": 1, "reservation_id": 17, "movement": "entry", "result": result, "reason": reason}
    report = SireRefused.model_validate(known).report()
    assert report is not None
    (step,) = shown(advance({}, report))
    is_said(step)


def test_what_is_on_its_way_says_so() -> None:
    known = {"organization_id": 1, "reservation_id": 17}
    ready = {"kind": "pin", "channel": "email", "recipient": "a@b.test", "language": "es", "guest_name": "Ana"}
    more = {"property_name": "H", "amount": {"amount": 1}, "check_in_url": "https://x", "check_in_date": NOW.date()}
    message = NotificationReady.model_validate({**known, **ready, **more, "check_out_date": NOW.date()})
    rows = [{"key": "k", "line": "l"}]
    filing = {"movement": "entry", "moved_on": NOW.date(), "due_at": NOW, "rows": rows}
    for event in (message, SireSubmissionReady.model_validate({**known, **filing})):
        report = event.report()
        assert report is not None
        (step,) = shown(advance({}, report))
        is_said(step)


def test_what_is_done_needs_no_words() -> None:
    (step,) = shown(advance({}, StepReport(step="pin", state=StepState.COMPLETED, intent=1)))
    assert (step["reason"], step["advice"]) == (None, None)

"""The steps of a booking, from reports that arrive in any order and any number of times. Pure.

Per step the highest intent counts; inside it a fact (completed, skipped) wins, until a receipt says that the message
did not arrive, and that one, until a receipt says that it did; per job the highest pass has the last word, and failed
beats processing in the same pass.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, Field

from llegada.events.event import RECEIPT, StepReport, StepState
from reservation_api.timeline.why import FACTS, why


class Step(BaseModel):
    """One step: the intent that counts, its fact, and every job's last word."""

    intent: int = 0
    fact: StepReport | None = None
    jobs: dict[str, StepReport] = Field(default_factory=dict)

    @property
    def state(self) -> StepState:
        if self.fact is not None:
            return self.fact.state
        states = {report.state for report in self.jobs.values()}
        return StepState.FAILED if StepState.FAILED in states else StepState.PROCESSING if states else StepState.PENDING

    def shown(self, name: str, others: Mapping[str, StepState]) -> dict[str, Any]:
        """As the API shows it; the job that matters most speaks. `others`: the state of each step of the booking."""
        spoken = self.fact or max(self.jobs.values(), key=_weight, default=None)
        reason, advice = why(name, self.state, spoken, others)
        return {
            "step": name,
            "state": self.state.value,
            "intent": self.intent,
            "attempt": spoken.attempt if spoken else None,
            "attempts": spoken.attempts if spoken else None,
            "nextTryAt": spoken.next_try_at.isoformat() if spoken and spoken.next_try_at else None,
            "reason": reason,
            "advice": advice,
        }


Steps = dict[str, Step]


def shown(steps: Steps) -> list[dict[str, Any]]:
    """All steps as the API shows them."""
    states = {name: step.state for name, step in steps.items()}
    return [step.shown(name, states) for name, step in steps.items()]


def expect(steps: Steps, wanted: dict[str, int]) -> Steps:
    """Steps that begin: pending under their intent, unless a newer one is known."""
    return {**steps, **{name: _at(steps.get(name), intent) for name, intent in wanted.items()}}


def advance(steps: Steps, report: StepReport) -> Steps:
    """Take one report in; an older one changes nothing."""
    known = steps.get(report.step)
    intent = report.intent or (known.intent if known else 1)
    step = _at(known, intent)
    if step.intent > intent:
        return steps
    if report.state in FACTS or report.job == RECEIPT:
        step = step.model_copy(update={"fact": _better(step.fact, report)})
    else:
        jobs = {**step.jobs, report.job: _later(step.jobs.get(report.job), report)}
        step = step.model_copy(update={"jobs": jobs})
    return {**steps, report.step: step}


def close(steps: Steps, names: Collection[str], reason: str) -> Steps:
    """Those of `names` that are still open are wanted no more; a job that finishes all the same has the last word."""
    over = {
        name: step.model_copy(
            update={"fact": StepReport(step=name, state=StepState.SKIPPED, intent=step.intent, reason=reason)}
        )
        for name, step in steps.items()
        if name in names and step.fact is None
    }
    return {**steps, **over}


def document(steps: Steps) -> str:
    """As the database keeps them."""
    return json.dumps({name: step.model_dump(mode="json", exclude_none=True) for name, step in steps.items()})


def processing_status(steps: Steps) -> str:
    """`pending`, `processing`, `completed` or `failed`: the whole booking in one word."""
    states = {step.state for step in steps.values()}
    if StepState.FAILED in states:
        return "failed"
    if states <= set(FACTS):
        return "completed"
    return "pending" if states == {StepState.PENDING} else "processing"


def _at(known: Step | None, intent: int) -> Step:
    return known if known is not None and known.intent >= intent else Step(intent=intent)


def _better(known: StepReport | None, report: StepReport) -> StepReport:
    """Completed beats skipped: a message that left by one channel left. A receipt beats both, arrived beats failed."""
    if known is None or _fact_rank(report) > _fact_rank(known):
        return report
    return known


def _fact_rank(report: StepReport) -> tuple[bool, bool]:
    return report.job == RECEIPT, report.state is StepState.COMPLETED


def _later(known: StepReport | None, report: StepReport) -> StepReport:
    return report if known is None or _rank(report) > _rank(known) else known


def _rank(report: StepReport) -> tuple[int, bool, int]:
    return report.pass_, report.state is StepState.FAILED, report.attempt or 0


def _weight(report: StepReport) -> tuple[bool, bool, int]:
    return report.state is StepState.FAILED, report.reason is not None, report.pass_

"""The steps of a booking, and how reports move them. Pure.

A step keeps words: what was said last by the fact itself and by each job, for the highest intent that was seen.
Keeping is a maximum in a total order, so the same reports give the same steps in any order and any number of copies:
a consumer may see them twice, late, or mixed (3-messaging, 3.3).

Words of intent 0 speak of whatever intent is current (an undecodable message does not know its own). They are kept
beside the others and hold until a fact or a later word of the same job replaces them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from llegada.events.event import Event, StepReport, StepState
from llegada.events.types import Value

_LAST = 99
"""Position of a step that nobody announced: after the announced ones."""
_FINAL = {StepState.COMPLETED: 2, StepState.SKIPPED: 1}
_RANK = {StepState.PENDING: 0, StepState.PROCESSING: 1, StepState.FAILED: 2}


class Step(Value):
    """One step as it is stored. `position`: its place among the steps that were announced with it."""

    position: int = _LAST
    intent: int = 0
    words: tuple[StepReport, ...] = ()


Steps = Mapping[str, Step]
_STEPS: TypeAdapter[dict[str, Step]] = TypeAdapter(dict[str, Step])


class ShownStep(Value):
    """One step as staff see it; `attempt` counts failures so far, `reason` and `advice` are in plain words."""

    step: str
    state: StepState
    intent: int
    attempt: int | None = None
    attempts: int | None = None
    next_try_at: datetime | None = None
    reason: str | None = None
    advice: str | None = None


def load(stored: str | bytes) -> dict[str, Step]:
    return _STEPS.validate_json(stored)


def dump(steps: Steps) -> str:
    return _STEPS.dump_json(dict(steps), exclude_defaults=True).decode()


def announced(steps: Steps, event: Event) -> dict[str, Step]:
    """`steps` and those that begin with `event`."""
    known = dict(steps)
    for position, (name, intent) in enumerate(event.expected_steps().items()):
        step = known.get(name, Step())
        known[name] = _kept(min(step.position, position), max(step.intent, intent), step.words)
    return known


def advance(steps: Steps, report: StepReport) -> dict[str, Step]:
    """`steps` after `report`. Commutative and idempotent."""
    step = steps.get(report.step, Step())
    moved = _kept(step.position, max(step.intent, report.intent), (*step.words, report))
    return {**steps, report.step: moved}


def _kept(position: int, intent: int, words: tuple[StepReport, ...]) -> Step:
    """Words of the current intent and of intent 0; of each job the last one."""
    last: dict[tuple[str, bool], StepReport] = {}
    for word in words:
        if word.intent not in (0, intent):
            continue
        key = (word.job, word.intent == 0)
        if key not in last or _order(last[key]) < _order(word):
            last[key] = word
    return Step(position=position, intent=intent, words=tuple(last[key] for key in sorted(last)))


def _order(word: StepReport) -> tuple[Any, ...]:
    """A completed or skipped fact wins for ever, then the highest pass, then failed over processing; the rest only
    makes the order total, so that two different words never tie.
    """
    next_try = word.next_try_at.timestamp() if word.next_try_at is not None else 0.0
    ties = (word.attempt or 0, word.attempts or 0, next_try, word.reason or "", word.advice or "")
    return (_FINAL.get(word.state, 0), word.pass_, _RANK.get(word.state, 0), *ties)


def shown(steps: Steps) -> list[ShownStep]:
    """All steps in the order in which they were announced."""
    ordered = sorted(steps.items(), key=lambda item: (item[1].position, item[0]))
    return [_show(name, step) for name, step in ordered]


def _show(name: str, step: Step) -> ShownStep:
    """Completed or skipped by a fact, else failed if any job's last word is failed, else processing, else pending."""
    for state in (StepState.COMPLETED, StepState.SKIPPED, StepState.FAILED, StepState.PROCESSING):
        words = [word for word in step.words if word.state is state]
        if words:
            telling = max(words, key=lambda word: (word.attempt is not None, _order(word), word.job))
            return ShownStep(
                step=name,
                state=state,
                intent=step.intent,
                attempt=telling.attempt,
                attempts=telling.attempts,
                next_try_at=telling.next_try_at,
                reason=telling.reason,
                advice=telling.advice,
            )
    return ShownStep(step=name, state=StepState.PENDING, intent=step.intent)

"""An employee's life cycle: what a step changes, how far it is, and when the phase is over. Pure.

onboarding → active ⇄ contract_change
     └──────────┴───────────┴────────→ offboarding → archived
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from llegada.events.person import (
    SOCIAL_SECURITY,
    ContractStep,
    LifecycleStatus,
    LifecycleStep,
    OffboardingStep,
    OnboardingStep,
    StepStatus,
)
from llegada.events.task import TaskStatus

ONBOARDING: tuple[str, ...] = get_args(OnboardingStep)
OFFBOARDING: tuple[str, ...] = get_args(OffboardingStep)
CONTRACT_CHANGE: tuple[str, ...] = get_args(ContractStep)
_STEPS: dict[LifecycleStatus, tuple[str, ...]] = {
    "onboarding": ONBOARDING,
    "active": ONBOARDING,
    "contract_change": CONTRACT_CHANGE,
    "offboarding": OFFBOARDING,
    "archived": OFFBOARDING,
}
_AFTER: dict[LifecycleStatus, LifecycleStatus] = {
    "onboarding": "active",
    "contract_change": "active",
    "offboarding": "archived",
}
_FINISHED = frozenset({"not_required", "registered", "done", "deregistered"})


@dataclass(frozen=True)
class Lifecycle:
    """`revision` counts the changes: each is told, and is one line of the history."""

    status: LifecycleStatus
    steps: Mapping[str, LifecycleStep]
    revision: int = 1

    @property
    def progress(self) -> int:
        """Per cent of the present phase's required steps; 100 where nothing is required."""
        required = [self.steps[name] for name in _STEPS[self.status] if self.steps[name].status != "not_required"]
        finished = sum(step.status in _FINISHED for step in required)
        return 100 if not required else 100 * finished // len(required)


def begin(not_required: tuple[str, ...]) -> Lifecycle:
    steps = {name: LifecycleStep(status="not_required" if name in not_required else "pending") for name in ONBOARDING}
    return _moved(Lifecycle("onboarding", steps))


def record(
    lifecycle: Lifecycle, name: str, status: StepStatus, number: str | None = None, provider: str | None = None
) -> Lifecycle | None:
    """The next revision; None where nothing changes, or where the life cycle has no such step (yet)."""
    known = lifecycle.steps.get(name)
    if known is None or lifecycle.status == "archived":
        return None
    step = LifecycleStep(status=status, number=number or known.number, provider=provider or known.provider)
    if step == known:
        return None
    return _moved(replace(lifecycle, steps={**lifecycle.steps, name: step}, revision=lifecycle.revision + 1))


def step_status(name: str, known: StepStatus, task: TaskStatus) -> StepStatus:
    """What a task's status makes of the step that it is about; a task that was reopened opens its step again."""
    if task == "done":
        return known if known in _FINISHED else "registered" if name in SOCIAL_SECURITY else "done"
    return "pending" if known in ("registered", "done") else known


def change_contract(lifecycle: Lifecycle) -> Lifecycle | None:
    """The next revision. Whoever works gets the phase with its steps, also a second time; whoever is still arriving
    signs the contract as it is now. None where the person is leaving.
    """
    if lifecycle.status in ("offboarding", "archived"):
        return None
    if lifecycle.status == "onboarding":
        return replace(lifecycle, revision=lifecycle.revision + 1)
    steps = {**lifecycle.steps, **{name: LifecycleStep() for name in CONTRACT_CHANGE}}
    return Lifecycle("contract_change", steps, lifecycle.revision + 1)


def offboard(lifecycle: Lifecycle) -> Lifecycle | None:
    """None where the person is leaving already."""
    if lifecycle.status in ("offboarding", "archived"):
        return None
    steps = {**lifecycle.steps, **{name: LifecycleStep() for name in OFFBOARDING}}
    return Lifecycle("offboarding", steps, lifecycle.revision + 1)


def _moved(lifecycle: Lifecycle) -> Lifecycle:
    """A phase whose steps are finished is over; an employee whose step was opened again is in onboarding again."""
    if lifecycle.progress < 100:  # noqa: PLR2004 - per cent
        return replace(lifecycle, status="onboarding") if lifecycle.status == "active" else lifecycle
    after = _AFTER.get(lifecycle.status)
    return lifecycle if after is None else _moved(replace(lifecycle, status=after))

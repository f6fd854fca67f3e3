"""What every job may report about itself, whichever service it belongs to."""

from datetime import datetime
from typing import ClassVar

from llegada.events.event import Event, StepReport, StepState
from llegada.events.types import ReservationId


class JobEvent(Event):
    """`job` names the subscriber, `step` the part of the booking; `cause_type` is the event that it worked on.

    `cause_item`: which one that was about, where its subject has several (a guest's message).
    """

    job: str
    step_name: str | None = None
    intent: int = 0
    reservation_id: ReservationId | None = None
    cause_type: str
    cause_item: str | None = None
    pass_number: int = 0
    reason: str

    @property
    def subject(self) -> str:
        return super().subject if self.reservation_id is None else f"reservation/{self.reservation_id}"

    @property
    def step(self) -> str | None:
        return self.step_name

    def _report(self, state: StepState, **more: object) -> StepReport | None:
        if self.step_name is None:
            return None
        known = {"step": self.step_name, "intent": self.intent, "job": self.job, "pass_": self.pass_number}
        return StepReport.model_validate({**known, "state": state, "reason": self.reason, **more})


class JobRetrying(JobEvent):
    """An attempt failed, the next one is planned. `attempt` counts failures so far, `attempts` says how many may be."""

    type: ClassVar[str] = "job.retrying"

    attempt: int
    attempts: int
    next_try_at: datetime
    error_class: str
    advice: str | None = None

    def report(self) -> StepReport | None:
        tries = {"attempt": self.attempt, "attempts": self.attempts, "next_try_at": self.next_try_at}
        return self._report(StepState.PROCESSING, **tries, advice=self.advice)


class JobFailed(JobEvent):
    """The job gave up; the message rests as a dead letter until somebody replays or discards it.

    A worker says it by itself, without a dead letter, where the same message could never work (a guest's document).
    """

    type: ClassVar[str] = "job.failed"

    attempt: int
    attempts: int
    error_class: str
    advice: str | None = None

    def report(self) -> StepReport | None:
        tries = {"attempt": self.attempt, "attempts": self.attempts, "advice": self.advice}
        return self._report(StepState.FAILED, **tries)


class JobSkipped(JobEvent):
    """The effect was no longer wanted, so it was not made. A success, with its reason."""

    type: ClassVar[str] = "job.skipped"

    def report(self) -> StepReport | None:
        return self._report(StepState.SKIPPED)

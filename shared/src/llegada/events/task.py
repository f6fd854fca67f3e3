"""Tasks of the staff, J9: made by rules in backoffice-worker, worked in reservation-api."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from llegada.events.event import Event
from llegada.events.types import Language, ReservationId, Value

TaskStatus = Literal["open", "in_progress", "improval", "quality_control", "done"]
Trigger = Literal[
    "reservation.created",
    "reservation.checked_in",
    "reservation.checked_out",
    "reservation.cancelled",
    "job.failed",
    "sire.filing_prepared",
    "user.created",
    "user.contract_changed",
    "user.offboarding_started",
]
Condition = Literal["always", "unpaid", "deadline_near"]
Fact = Literal["checked_in", "checked_out", "cancelled", "paid", "registered", "recorded"]
"""What becomes of a task's subject, and may move the task."""


class Due(Value):
    """When a task is due: `hours` after the event, the day of arrival or departure (local 15:00, 11:00), a deadline."""

    base: Literal["event", "check_in", "check_out", "deadline"] = "event"
    hours: Annotated[int, Field(ge=-24 * 365, le=24 * 365)] = 0


class TaskRule(Value):
    """On an event, one task: for a role or for a person (its subject in the token), never for both.

    `title`: language → template with `{{guest}} {{room}} {{checkIn}} {{checkOut}} {{reason}} {{name}}`. `follows`: what
    becomes of the subject → the task's status. `quality_control`: somebody else looks before it is done. `step`: the
    step of an employee's life cycle that the task is about. `near_hours`: how long before a deadline it is near.
    """

    key: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
    on: Trigger
    when: Condition = "always"
    enabled: bool = True
    title: Annotated[
        dict[Language, Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]],
        Field(min_length=1),
    ]
    role: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)] | None = None
    person: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254)] | None = None
    due: Due = Due()
    quality_control: bool = False
    follows: dict[Fact, TaskStatus] = Field(default_factory=dict)
    step: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")] | None = None
    near_hours: Annotated[int, Field(ge=1, le=24 * 7)] = 6

    @model_validator(mode="after")
    def _fits(self) -> "TaskRule":
        if (self.role is None) == (self.person is None):
            raise ValueError("a task is for a role or for a person: name exactly one of the two")
        if (self.when == "deadline_near") != (self.on == "sire.filing_prepared"):
            raise ValueError("`deadline_near` and `sire.filing_prepared` belong together")
        if self.when == "unpaid" and self.on not in ("reservation.checked_in", "reservation.checked_out"):
            raise ValueError("`unpaid` is a condition of reservation.checked_in and reservation.checked_out")
        return self


class TaskRulesConfigured(Event):
    """An organization's rules, whole; the newest `revision` wins. Published by reservation-api."""

    type: ClassVar[str] = "task.rules_configured"

    revision: int
    rules: tuple[TaskRule, ...]


class TaskEvent(Event):
    """A task as the rules want it. `key`: of one rule and cause, so it is the same however often the cause arrives.

    `cause`: `reservation/17`, `user/3`. `revision` counts what the rules said about the task.
    """

    key: UUID
    rule: str
    cause: str
    reservation_id: ReservationId | None = None
    user_id: int | None = None
    step_name: str | None = None
    title: dict[Language, str]
    role: str | None = None
    person: str | None = None
    due_at: datetime | None = None
    quality_control: bool = False
    status: TaskStatus = "open"
    revision: int = 1

    @property
    def subject(self) -> str:
        return self.cause if self.reservation_id is None else f"reservation/{self.reservation_id}"


class TaskCreated(TaskEvent):
    """There is something to do."""

    type: ClassVar[str] = "task.created"


class TaskFollowed(TaskEvent):
    """Its subject went on, so the task moves, unless somebody has finished it already."""

    type: ClassVar[str] = "task.followed"

    because: Fact


class TaskStatusChanged(Event):
    """A person moved a task. Published by reservation-api."""

    type: ClassVar[str] = "task.status_changed"

    key: UUID
    user_id: int | None = None
    reservation_id: ReservationId | None = None
    step_name: str | None = None
    status: TaskStatus
    by: str

    @property
    def subject(self) -> str:
        if self.reservation_id is not None:
            return f"reservation/{self.reservation_id}"
        return f"user/{self.user_id}" if self.user_id is not None else f"task/{self.key}"

"""What every event has: a name, a version, a subject, and the step of a booking that it reports on."""

import importlib
import pkgutil
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

import llegada.events
from llegada.events.types import Intent, OrganizationId, ReservationId, Value

RECEIPT = "receipt"
"""The `job` of a report that a provider's late word makes: it overrules the fact that the message was sent."""


class StepState(StrEnum):
    """The state of one step of a booking, as staff see it."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"


class StepReport(Value):
    """What an event says about one step of its booking.

    `intent` 0 means: whatever is the current one. `job` is empty for the fact itself and names the subscriber
    (`payment-worker.create-link`) where a job reports on its own work.
    """

    step: str
    state: StepState
    intent: int = 0
    job: str = ""
    pass_: int = 0
    attempt: int | None = None
    attempts: int | None = None
    next_try_at: datetime | None = None
    reason: str | None = None
    advice: str | None = None


class Event(BaseModel):
    """A fact that happened, in the past tense. Never changed after it was made.

    A class names its `type` once; it is the routing key too. A field may be added with a default; anything else is a
    new class with the next `version` and a type of its own (`reservation.created.v2`), both published for a while.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str] = ""
    version: ClassVar[int] = 1

    organization_id: OrganizationId

    @property
    def subject(self) -> str:
        """What the event is about: `reservation/17`."""
        return f"organization/{self.organization_id}"

    @property
    def step(self) -> str | None:
        """The step of the booking that this event belongs to, if it belongs to one."""
        return None

    @property
    def item(self) -> str | None:
        """Which one the event is about, where its subject has several: one of a guest's messages."""
        return None

    def expected_steps(self) -> dict[str, int]:
        """Steps that begin with this event, each with the intent it wants: what staff see as pending at once."""
        return {}

    def report(self) -> StepReport | None:
        """What this event says about a step; None where it says nothing."""
        return None


class ReservationEvent(Event):
    """An event whose subject is a reservation."""

    reservation_id: ReservationId

    @property
    def subject(self) -> str:
        return f"reservation/{self.reservation_id}"

    def wanted(self) -> dict[str, int | None]:
        """Step → the intent that this event wants of it; None: nobody wants that step."""
        return {}

    def expected_steps(self) -> dict[str, int]:
        return {step: intent for step, intent in self.wanted().items() if intent is not None}


class FactEvent(ReservationEvent):
    """An event that completes a step: the fact that somebody waited for, under the intent that wanted it."""

    completes: ClassVar[str] = ""

    intent: Intent = 1

    @property
    def step(self) -> str | None:
        return self.completes

    def report(self) -> StepReport | None:
        return StepReport(step=self.completes, state=StepState.COMPLETED, intent=self.intent)


def event_types() -> dict[str, type[Event]]:
    """Every event class of the modules in `llegada.events`, by type name. A new module needs no entry anywhere."""
    for module in pkgutil.iter_modules(llegada.events.__path__):
        importlib.import_module(f"llegada.events.{module.name}")
    found: dict[str, type[Event]] = {}
    waiting: list[type[Event]] = [Event]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls.type and cls.__module__.startswith("llegada.events."):
            if cls.type in found:
                raise TypeError(f"two events are called {cls.type!r}: {found[cls.type].__name__} and {cls.__name__}")
            found[cls.type] = cls
    return dict(sorted(found.items()))

"""Employees from the first day to the last, J10: registered by reservation-api, accompanied by backoffice-worker."""

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from llegada.events.event import Event
from llegada.events.file import File
from llegada.events.types import EmailAddress, Intent, Language, Money, Value

LifecycleStatus = Literal["onboarding", "active", "contract_change", "offboarding", "archived"]
StepStatus = Literal["not_required", "pending", "registered", "failed", "deregistered", "done"]
OnboardingStep = Literal["arl", "eps", "pension", "caja", "id_document", "bank_details", "contract"]
ContractStep = Literal["amendment", "social_security_update"]
OffboardingStep = Literal["certificate", "final_settlement", "social_security_signoff"]
SOCIAL_SECURITY = frozenset({"arl", "eps", "pension", "caja"})
"""Occupational risks, health, pension, family compensation: what an employer registers in Colombia."""
DocumentKind = Literal["certificate", "contract"]


class Employment(Value):
    """What contract and certificate say. `salary`: of a month. Document number and salary are never logged."""

    position: str
    contract_type: Literal["indefinite", "fixed_term", "services"] = "indefinite"
    starts_on: date
    ends_on: date | None = None
    salary: Money | None = None
    document_number: str | None = None


class UserEvent(Event):
    user_id: int

    @property
    def subject(self) -> str:
        return f"user/{self.user_id}"


class UserCreated(UserEvent):
    """Somebody works here now. `person`: the subject in the person's token. `not_required`: steps that are skipped."""

    type: ClassVar[str] = "user.created"

    name: str
    email: EmailAddress
    person: str
    language: Language = "es"
    employment: Employment
    not_required: tuple[OnboardingStep, ...] = ()
    created_at: datetime


class ContractChanged(UserEvent):
    """The contract changes for the `intent`th time; `employment`: as it will be from `effective_on` on."""

    type: ClassVar[str] = "user.contract_changed"

    intent: Intent
    employment: Employment
    effective_on: date
    what: str
    by: str
    changed_at: datetime


class OffboardingStarted(UserEvent):
    """The person leaves. `employment`: as it is on the last day, after so many changes as `contract` says."""

    type: ClassVar[str] = "user.offboarding_started"

    exit_on: date
    employment: Employment | None = None
    contract: Annotated[int, Field(ge=0)] = 0
    reason: str | None = None
    by: str
    started_at: datetime


class LifecycleStepRecorded(UserEvent):
    """Staff recorded what became of a step: with a social-security body its number and the provider."""

    type: ClassVar[str] = "lifecycle.step_recorded"

    step_name: str
    status: StepStatus
    number: str | None = None
    provider: str | None = None
    by: str


class LifecycleStep(Value):
    """One step; `number` and `provider` where it is a registration."""

    status: StepStatus = "pending"
    number: str | None = None
    provider: str | None = None


class LifecycleEvent(UserEvent):
    """A life cycle as it is now; the highest `revision` is true, and each is one line of its history.

    `progress`: per cent of the required steps of the present phase.
    """

    revision: Annotated[int, Field(ge=1)]
    status: LifecycleStatus
    progress: Annotated[int, Field(ge=0, le=100)]
    steps: dict[str, LifecycleStep]
    what: str
    by: str


class LifecycleCreated(LifecycleEvent):
    """Onboarding begins."""

    type: ClassVar[str] = "lifecycle.created"


class LifecycleChanged(LifecycleEvent):
    """One step further."""

    type: ClassVar[str] = "lifecycle.changed"


class DocumentRequested(UserEvent):
    """A certificate or a contract is wanted as PDF. `key`: of one request, so that it is made once."""

    type: ClassVar[str] = "document.requested"

    key: UUID
    kind: DocumentKind
    name: str
    employer: str
    language: Language = "es"
    employment: Employment
    exit_on: date | None = None
    issued_on: date


class DocumentReady(UserEvent):
    """The PDF is there."""

    type: ClassVar[str] = "document.ready"

    key: UUID
    kind: DocumentKind
    file: File

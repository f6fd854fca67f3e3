"""People as staff send them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from llegada.events.person import DocumentKind, Employment, OnboardingStep, StepStatus
from llegada.events.types import Money
from reservation_api.bounds import Day
from reservation_api.reservations.schemas import Email, Name

Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
ContractType = Literal["indefinite", "fixed_term", "services"]
Salary = Annotated[int, Field(gt=0, le=1_000_000_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


def in_order(job: Employment) -> Employment:
    """Raises ValueError where the contract contradicts itself."""
    if job.ends_on is not None and job.ends_on <= job.starts_on:
        raise ValueError(f"endsOn {job.ends_on} must be after startsOn {job.starts_on}")
    if job.contract_type == "fixed_term" and job.ends_on is None:
        raise ValueError("a contract with a fixed term needs endsOn")
    return job


class NewUser(_Body):
    """`person`: the subject in the person's token, the e-mail address where nothing is said. `salary`: whole pesos."""

    name: Name
    email: Email
    person: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254)] | None = None
    language: Literal["es", "en", "de"] = "es"
    position: Short
    contract_type: ContractType = "indefinite"
    starts_on: Day
    ends_on: Day | None = None
    salary: Salary | None = None
    document_number: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{3,30}$")] | None = None
    not_required: Annotated[list[OnboardingStep], Field(max_length=7)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        in_order(self.employment())
        return self

    def employment(self) -> Employment:
        return Employment(
            position=self.position,
            contract_type=self.contract_type,
            starts_on=self.starts_on,
            ends_on=self.ends_on,
            salary=None if self.salary is None else Money(amount=self.salary),
            document_number=self.document_number,
        )


class ContractChange(_Body):
    """What changes, and from which day on; what is left out stays. `salary`: whole pesos. `endsOn` null: no end."""

    effective_on: Day
    position: Short | None = None
    contract_type: ContractType | None = None
    ends_on: Day | None = None
    salary: Salary | None = None
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = None

    def applied(self, to: Employment) -> Employment:
        """Raises ValueError where the contract would contradict itself, or nothing would change."""
        wanted = self.model_dump(include={"position", "contract_type", "ends_on"}, exclude_unset=True)
        if self.salary is not None:
            wanted["salary"] = Money(amount=self.salary)
        changed = Employment.model_validate({**to.model_dump(), **wanted})
        if changed == to:
            raise ValueError("nothing of the contract would change")
        if self.effective_on < to.starts_on:
            raise ValueError(f"effectiveOn {self.effective_on} is before the employment began, on {to.starts_on}")
        return in_order(changed)


class StepResult(_Body):
    """What became of a step; with a social-security body the number of the registration and who it is."""

    status: StepStatus
    number: Short | None = None
    provider: Short | None = None


class Leaving(_Body):
    exit_on: Day
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = None


class NewDocument(_Body):
    kind: DocumentKind
    language: Literal["es", "en", "de"] | None = None

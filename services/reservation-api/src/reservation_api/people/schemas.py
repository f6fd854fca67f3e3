"""People as staff send them."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from llegada.events.person import DocumentKind, Employment, OnboardingStep, StepStatus
from llegada.events.types import Money
from reservation_api.reservations.schemas import Email, Name

Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class NewUser(_Body):
    """`person`: the subject in the person's token, the e-mail address where nothing is said. `salary`: whole pesos."""

    name: Name
    email: Email
    person: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254)] | None = None
    language: Literal["es", "en", "de"] = "es"
    position: Short
    contract_type: Literal["indefinite", "fixed_term", "services"] = "indefinite"
    starts_on: date
    ends_on: date | None = None
    salary: Annotated[int, Field(gt=0, le=1_000_000_000)] | None = None
    document_number: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{3,30}$")] | None = None
    not_required: Annotated[list[OnboardingStep], Field(max_length=7)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_on is not None and self.ends_on <= self.starts_on:
            raise ValueError(f"endsOn {self.ends_on} must be after startsOn {self.starts_on}")
        if self.contract_type == "fixed_term" and self.ends_on is None:
            raise ValueError("a contract with a fixed term needs endsOn")
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


class StepResult(_Body):
    """What became of a step; with a social-security body the number of the registration and who it is."""

    status: StepStatus
    number: Short | None = None
    provider: Short | None = None


class Leaving(_Body):
    exit_on: date
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = None


class NewDocument(_Body):
    kind: DocumentKind
    language: Literal["es", "en", "de"] | None = None

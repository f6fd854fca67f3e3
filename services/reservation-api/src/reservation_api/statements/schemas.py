"""Work times as they are imported, and the settings of a person's statements."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from llegada.events.statement import BillingCurrency
from reservation_api.bounds import Day, Id
from reservation_api.reservations.schemas import Email

MOST_AT_ONCE = 2000
_MOST_MINUTES = 24 * 60
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Month = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class WorkTime(_Body):
    """`externalId`: of the system that it comes from; the same one is the same work. Without a client: not billed."""

    external_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    user_id: Id
    client_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] | None = None
    client_name: Text | None = None
    date: Day
    minutes: Annotated[int, Field(gt=0, le=_MOST_MINUTES)]
    kind: Literal["work", "consultation"] = "work"

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.client_id is None) != (self.client_name is None):
            raise ValueError("clientId and clientName belong together")
        return self


class WorkTimes(_Body):
    """POST /api/work-times: any number of times, the same rows are the same work."""

    work_times: Annotated[list[WorkTime], Field(min_length=1, max_length=MOST_AT_ONCE)]

    @model_validator(mode="after")
    def _once(self) -> Self:
        seen: set[str] = set()
        for work in self.work_times:
            if work.external_id in seen:
                raise ValueError(f"externalId {work.external_id!r} stands twice in this import")
            seen.add(work.external_id)
        return self


class BillingSettings(_Body):
    """When and how a person's statement is made. `hourlyRate`: minor units (cents; whole pesos); none: no amounts.
    `autoSend`: it leaves by e-mail once it is there; what is made anew is sent by hand.
    """

    enabled: bool = False
    day: Annotated[int, Field(ge=1, le=31)] = 25
    recipient: Text | None = None
    recipient_email: Email | None = None
    auto_send: bool = False
    currency: BillingCurrency = "CHF"
    hourly_rate: Annotated[int, Field(gt=0, le=100_000_000)] | None = None
    language: Literal["de", "en", "es"] = "de"

    @model_validator(mode="after")
    def _to_somebody(self) -> Self:
        if self.enabled and self.recipient is None:
            raise ValueError("statements need a recipient")
        if self.auto_send and self.recipient_email is None:
            raise ValueError("autoSend needs recipientEmail")
        return self


class Run(_Body):
    """Whose statements, of which month; left out: of everybody with statements, of the newest period that is over."""

    user_id: Id | None = None
    month: Month | None = None


class Sending(_Body):
    """To whom; left out: to the recipient of the person's settings."""

    recipient_email: Email | None = None


class NewStatus(_Body):
    """`sent`: it was handed over in another way."""

    status: Literal["sent", "archived"]

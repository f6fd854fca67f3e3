"""Monthly statements of consultants' work, J8: ordered by reservation-api, written by backoffice-worker."""

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from llegada.events.event import Event
from llegada.events.file import File
from llegada.events.types import EmailAddress, Intent, Language, Value

BillingCurrency = Literal["CHF", "EUR", "USD", "COP"]
MINOR_UNITS: dict[BillingCurrency, int] = {"CHF": 2, "EUR": 2, "USD": 2, "COP": 0}
"""Decimal places of an amount; the peso's centavo is not in circulation."""


class WorkEntry(Value):
    """One piece of work for a client. `kind`: consultations are counted, the time of both is billed."""

    client_id: str
    client_name: str
    on: date
    minutes: Annotated[int, Field(gt=0)]
    kind: Literal["work", "consultation"] = "work"


class StatementLine(Value):
    """What one client owes. `amount`: minor units of the statement's currency; None without an hourly rate."""

    client_id: str
    client_name: str
    minutes: int
    consultations: int
    amount: int | None = None


class StatementEvent(Event):
    """`edition`: 1 for the first, one more each time it is made anew; older ones are kept."""

    statement_id: int
    edition: Intent = 1
    number: Annotated[str, StringConstraints(pattern=r"^MR-[0-9]{6}-[0-9]{3,}$")]

    @property
    def subject(self) -> str:
        return f"statement/{self.statement_id}"


class StatementRequested(StatementEvent):
    """A statement is due, by the clock or by hand: everything that it says. `hourly_rate`: minor units per hour."""

    type: ClassVar[str] = "statement.requested"

    consultant: str
    issuer: str
    recipient: str
    language: Language = "de"
    period_start: date
    period_end: date
    issued_on: date
    currency: BillingCurrency = "CHF"
    hourly_rate: Annotated[int, Field(gt=0)] | None = None
    entries: Annotated[tuple[WorkEntry, ...], Field(min_length=1)]


class StatementReady(StatementEvent):
    """The PDF is there. `carried_minutes`: work of earlier periods that was imported late."""

    type: ClassVar[str] = "statement.ready"

    lines: tuple[StatementLine, ...]
    minutes: int
    consultations: int
    carried_minutes: int = 0
    amount: int | None = None
    currency: BillingCurrency
    file: File


class StatementMailRequested(StatementEvent):
    """Staff want it sent by e-mail, for the `intent`th time; each is sent once. Published by reservation-api."""

    type: ClassVar[str] = "statement.mail_requested"

    intent: Intent
    recipient: EmailAddress
    language: Language = "de"
    consultant: str
    issuer: str
    period_start: date
    period_end: date
    file: File

    @property
    def item(self) -> str:
        return f"{self.statement_id}/{self.edition}/{self.intent}"


class StatementMailed(StatementEvent):
    """The mail server took it. Published by notification-worker."""

    type: ClassVar[str] = "statement.mailed"

    intent: Intent
    recipient: EmailAddress
    provider_message_id: str
    sent_at: datetime

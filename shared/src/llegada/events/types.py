"""Constrained values that events are made of. Units stand in the names or the docstrings."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, NewType

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

OrganizationId = NewType("OrganizationId", int)
ReservationId = NewType("ReservationId", int)

PhoneNumber = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
"""E.164 with the leading plus: `+573001234567`."""

EmailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s.]+$", max_length=254)]
"""An address as RFC 5321 limits it (254 characters). Whether it exists, only sending tells."""

Language = Literal["es", "en", "de"]
Currency = Literal["COP"]
Intent = Annotated[int, Field(ge=1)]
"""How many times somebody wanted this effect anew: 1 for the first link, 2 for the link after a contact change."""


class Channel(StrEnum):
    """How a message reaches a guest."""

    WHATSAPP = "whatsapp"
    EMAIL = "email"


class Value(BaseModel):
    """A frozen part of an event; unknown fields of a newer publisher are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Money(Value):
    """An amount in whole pesos: the centavo of ISO 4217 is not in circulation, and Bold takes integers only."""

    amount: Annotated[int, Field(gt=0)]
    currency: Currency = "COP"


class Contact(Value):
    """Where a guest can be reached: at least one of the two."""

    phone: PhoneNumber | None = None
    email: EmailAddress | None = None

    @model_validator(mode="after")
    def _reachable(self) -> "Contact":
        if self.phone is None and self.email is None:
            raise ValueError("a contact needs a phone number or an e-mail address")
        return self


class Stay(Value):
    """Where and when a guest sleeps. The instants carry their offset: check-in and check-out time of the property."""

    room: str | None = None
    starts_at: datetime
    ends_at: datetime


DocumentType = Literal["passport", "foreigner_id", "diplomatic", "foreign_document", "ppt"]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
Place = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}|[0-9]{4,5})$")]
"""ISO 3166-1 alpha-2, or a Colombian city by its DIVIPOLA code."""


class Guest(Value):
    """A guest's document as it was entered; what is missing was not given. Never logged."""

    nationality: Country | None = None
    origin: Place | None = None
    destination: Place | None = None
    document_type: DocumentType | None = None
    document_number: str | None = None
    birth_date: date | None = None
    first_surname: str | None = None
    second_surname: str | None = None
    first_names: str | None = None

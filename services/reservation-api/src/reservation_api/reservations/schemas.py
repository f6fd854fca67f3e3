"""What staff send, and what they get. Names as the existing frontend knows them."""

import re
from datetime import date, time
from typing import Annotated, Any, Literal, Self

import phonenumbers
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.alias_generators import to_camel

from llegada.events.types import Country, DocumentType, Place
from reservation_api.bounds import Day

MOST_PESOS = 99_999_999
HOME_REGION = "CO"

_NAME = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_NAMES = {"guestName", "checkInLink", "paymentLink"}
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s.]+$")


def e164(value: str) -> str:
    """`300 123 4567` → `+573001234567`. A number without country code is Colombian."""
    try:
        number = phonenumbers.parse(value, HOME_REGION)
    except phonenumbers.NumberParseException as error:
        raise ValueError(f"{value!r} is no phone number: {error}") from error
    if not phonenumbers.is_valid_number(number):
        raise ValueError(f"{value!r} is an impossible phone number; write it as +573001234567")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email_address(value: str) -> str:
    if not _EMAIL.match(value):
        raise ValueError(f"{value!r} is no e-mail address; write it as name@example.com")
    return value


Phone = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40), AfterValidator(e164)]
Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254), AfterValidator(email_address)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class Guest(_Body):
    """A guest's document, as the registration of foreigners needs it."""

    guest_nationality: Country | None = None
    guest_origin: Place | None = None
    guest_destination: Place | None = None
    guest_document_type: DocumentType | None = None
    guest_document_number: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{3,20}$")] | None = None
    guest_birth_date: date | None = None
    guest_first_surname: Name | None = None
    guest_second_surname: Name | None = None
    guest_first_names: Name | None = None


class NewContact(_Body):
    """`contact` is a phone number or an e-mail address, told apart by the @; or both by name."""

    contact: Annotated[str, StringConstraints(strip_whitespace=True, max_length=254)] | None = None
    guest_phone: Phone | None = None
    guest_email: Email | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.contact is not None:
            if "@" in self.contact:
                self.guest_email = self.guest_email or email_address(self.contact)
            else:
                self.guest_phone = self.guest_phone or e164(self.contact)
        if self.guest_phone is None and self.guest_email is None:
            raise ValueError("contact, guestPhone or guestEmail is needed")
        return self


class NewReservation(NewContact, Guest):
    """POST /api/reservations. `contact` is a phone number or an e-mail address, told apart by the @."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "guestName": "Ana Gómez",
                "contact": "+573001234567",
                "amount": 180000,
                "checkInDate": "2026-12-01",
                "checkOutDate": "2026-12-03",
                "language": "es",
            }
        }
    )

    guest_name: Name
    amount: Annotated[int, Field(strict=True, gt=0, le=MOST_PESOS, description="Whole pesos")]
    currency: Literal["COP"] = "COP"
    check_in_date: Day | None = None
    check_out_date: Day | None = None
    arrival_time: time | None = None
    room_number: Annotated[str, StringConstraints(max_length=50)] | None = None
    language: Literal["es", "en", "de"] | None = None
    guests: Annotated[list[Guest], Field(max_length=50)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _forward(self) -> "NewReservation":
        if self.check_in_date and self.check_out_date and self.check_out_date <= self.check_in_date:
            raise ValueError(f"checkOutDate {self.check_out_date} must be after checkInDate {self.check_in_date}")
        return self

    def documents(self) -> list[dict[str, Any]]:
        """The one who booked first, then the others; only what was given."""
        booker = Guest.model_validate({name: getattr(self, name) for name in Guest.model_fields})
        return _stored([booker, *self.guests])


class Guests(_Body):
    """PUT …/guests: the documents whole, first the one who booked."""

    guests: Annotated[list[Guest], Field(min_length=1, max_length=51)]

    def documents(self) -> list[dict[str, Any]]:
        return _stored(self.guests)


class CheckIn(_Body):
    """POST …/check-in. What is missing stays as it was stored."""

    room_number: Annotated[str, StringConstraints(min_length=1, max_length=50)] | None = None
    guests: Annotated[list[Guest], Field(min_length=1, max_length=51)] | None = None

    def documents(self) -> list[dict[str, Any]] | None:
        return None if self.guests is None else _stored(self.guests)


class Cancellation(_Body):
    """POST …/cancel."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] | None = None


class Invitation(_Body):
    """POST …/invitation. `customMessage` may hold `{{guestName}} {{checkInLink}} {{paymentLink}}`."""

    custom_message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)] | None = (
        None
    )

    @field_validator("custom_message")
    @classmethod
    def _known_names(cls, value: str | None) -> str | None:
        unknown = set(_NAME.findall(value or "")) - _NAMES
        if unknown or (value is not None and ("{%" in value or "{#" in value)):
            allowed = " ".join(f"{{{{{name}}}}}" for name in sorted(_NAMES))
            raise ValueError(f"{', '.join(sorted(unknown)) or 'commands'} cannot be filled in; allowed are {allowed}")
        return value


class Registration(_Body):
    """POST …/sire."""

    movement: Literal["entry", "exit"] = "entry"


def _stored(guests: list[Guest]) -> list[dict[str, Any]]:
    return [guest.model_dump(mode="json", by_alias=True, exclude_none=True) for guest in guests]

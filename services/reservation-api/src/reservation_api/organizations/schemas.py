"""An organization's settings, as an admin sends them."""

from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from llegada.events.types import Channel


def known_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"{value!r} is no IANA time zone; write it as America/Bogota")
    return value


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class WordingSettings(_Body):
    """Own words for one message in one language; what is missing falls back to the product's."""

    whatsapp_template: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,512}$")] | None = None
    whatsapp_language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(_[A-Z]{2})?$")] | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=4000)] | None = None
    email_subject: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class OrganizationSettings(_Body):
    """PUT /api/organizations/{id}/settings: the settings whole."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    time_zone: Annotated[str, AfterValidator(known_zone)] = "America/Bogota"
    language: Literal["es", "en", "de"] = "es"
    channels: Annotated[list[Channel], Field(min_length=1, max_length=2)] = Field(
        default_factory=lambda: [Channel.WHATSAPP, Channel.EMAIL]
    )
    wordings: dict[Literal["confirmation"], dict[Literal["es", "en", "de"], WordingSettings]] = Field(
        default_factory=dict
    )

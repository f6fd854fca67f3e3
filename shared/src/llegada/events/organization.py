"""What an organization decides about itself, published by reservation-api."""

from typing import ClassVar

from pydantic import Field

from llegada.events.event import Event
from llegada.events.types import Language, Value


class Wording(Value):
    """An organization's own words for one message in one language; what is None falls back to the product's.

    `text` and `email_*` are templates with `{{guestName}} {{propertyName}} {{amount}} {{checkInLink}} {{paymentLink}}`.
    """

    whatsapp_template: str | None = None
    whatsapp_language: str | None = None
    text: str | None = None
    email_subject: str | None = None


class OrganizationConfigured(Event):
    """The settings that workers need, whole: the newest `revision` wins, whatever the order of arrival."""

    type: ClassVar[str] = "organization.configured"

    revision: int
    name: str
    time_zone: str
    wordings: dict[str, dict[Language, Wording]] = Field(default_factory=dict)

"""What an organization decides about itself, published by reservation-api."""

from datetime import time
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

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


class Lock(Value):
    """A TTLock lock. `rooms` empty: everybody's, such as the front door.

    `gateway`: commands reach it through this gateway, one at a time (`addType` 2); None: the lock is offline, and its
    codes are those that TTLock computes for a period.
    """

    lock_id: Annotated[int, Field(gt=0)]
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    rooms: tuple[str, ...] = ()
    gateway: str | None = None


class Reply(Value):
    """What is answered to a guest's message that holds one of the words; language → text, as in a Wording."""

    keywords: tuple[str, ...]
    texts: dict[Language, str]


class SireSettings(Value):
    """How foreigners are registered. `hotel_code`: the property's at SIRE; `city_code`: DIVIPOLA without leading zero.

    `deadline_hours`: how long after the movement it must be filed (Resolución 2357/2020 is read as 24 h).
    """

    hotel_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}$")]
    city_code: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{3,4}$")]
    channel: Literal["file", "gateway"] = "file"
    deadline_hours: Annotated[int, Field(ge=1, le=24 * 7)] = 24


class QuietHours(Value):
    """Local times between which no guest is disturbed by what is not urgent; over midnight where `end` is earlier."""

    start: time
    end: time


class OrganizationConfigured(Event):
    """The settings that workers need, whole: the newest `revision` wins, whatever the order of arrival."""

    type: ClassVar[str] = "organization.configured"

    revision: int
    name: str
    time_zone: str
    wordings: dict[str, dict[Language, Wording]] = Field(default_factory=dict)
    locks: tuple[Lock, ...] = ()
    sire: SireSettings | None = None
    check_in_time: time = time(15)
    check_out_time: time = time(11)
    replies: tuple[Reply, ...] = ()
    quiet_hours: QuietHours | None = None

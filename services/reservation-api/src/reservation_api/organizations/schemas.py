"""An organization's settings, as an admin sends them."""

from datetime import time
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from llegada.events.types import Channel
from reservation_api.bounds import Id


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


class LockSettings(_Body):
    """A TTLock lock. `rooms` empty: everybody's. Without `gateway` its codes are computed for the period, offline."""

    lock_id: Id
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    rooms: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=50)]], Field(max_length=500)] = (
        Field(default_factory=list)
    )
    gateway: Annotated[str, StringConstraints(min_length=1, max_length=60)] | None = None


class SireSettings(_Body):
    """How foreigners are registered. `hotelCode`: as SIRE gave it; `cityCode`: DIVIPOLA without leading zero."""

    hotel_code: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}$")]
    city_code: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{3,4}$")]
    channel: Literal["file", "gateway"] = "file"
    deadline_hours: Annotated[int, Field(ge=1, le=24 * 7)] = 24


MessageName = Literal["confirmation", "welcome", "check_in_confirmation", "pin", "invitation"]


class ReplySettings(_Body):
    """What is answered at once to a guest's message that holds one of the words; without a rule staff are asked."""

    keywords: Annotated[
        list[Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=2, max_length=40)]],
        Field(min_length=1, max_length=30),
    ]
    texts: Annotated[
        dict[Literal["es", "en", "de"], Annotated[str, StringConstraints(min_length=1, max_length=2000)]],
        Field(min_length=1),
    ]


class InvitationSettings(_Body):
    """When late arrivals are invited: on the evening before, at `at` local time; late is `lateFrom` or later."""

    enabled: bool = True
    at: time = time(20)
    late_from: time = time(22)
    catch_up_hours: Annotated[int, Field(ge=0, le=12)] = 3


class QuietHoursSettings(_Body):
    """Local times between which no guest gets what is not urgent (an invitation); over midnight if `end` is earlier."""

    start: time
    end: time

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise ValueError("quiet hours are local to the organization's time zone; write 22:00, without an offset")
        if self.start == self.end:
            raise ValueError("quiet hours must end at another time than they begin; leave them out to have none")
        return self


class StaySettings(_Body):
    """When a stay begins and ends (local time), its doors, SIRE, invitations, answers, quiet hours."""

    check_in_time: time = time(15)
    check_out_time: time = time(11)
    locks: Annotated[list[LockSettings], Field(max_length=500)] = Field(default_factory=list)
    sire: SireSettings | None = None
    invitations: InvitationSettings = InvitationSettings()
    replies: Annotated[list[ReplySettings], Field(max_length=100)] = Field(default_factory=list)
    quiet_hours: QuietHoursSettings | None = None


class OrganizationSettings(StaySettings):
    """PUT /api/organizations/{id}/settings: the settings whole."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    time_zone: Annotated[str, AfterValidator(known_zone)] = "America/Bogota"
    language: Literal["es", "en", "de"] = "es"
    channels: Annotated[list[Channel], Field(min_length=1, max_length=2)] = Field(
        default_factory=lambda: [Channel.WHATSAPP, Channel.EMAIL]
    )
    wordings: dict[MessageName, dict[Literal["es", "en", "de"], WordingSettings]] = Field(default_factory=dict)

"""What happens to door codes, published by lock-worker."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from llegada.events.event import FactEvent
from llegada.events.reservation import PASSCODE, PASSCODE_REVOKED
from llegada.events.types import Value


class Passcode(Value):
    """A code that opens one lock from `starts_at` to `ends_at`."""

    lock_id: int
    lock_name: str
    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{4,9}$"), Field(repr=False)]
    starts_at: datetime
    ends_at: datetime


class PasscodeIssued(FactEvent):
    """The guest's codes are set, on every lock of the room. The only event that carries them, and the messages' one."""

    type: ClassVar[str] = "lock.passcode_issued"
    completes: ClassVar[str] = PASSCODE

    passcodes: Annotated[tuple[Passcode, ...], Field(min_length=1)]


class PasscodeRevoked(FactEvent):
    """Every code that was really set for the booking is gone from its lock."""

    type: ClassVar[str] = "lock.passcode_revoked"
    completes: ClassVar[str] = PASSCODE_REVOKED

    lock_names: tuple[str, ...] = ()

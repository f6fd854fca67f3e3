"""What guests write to us by WhatsApp, and what is answered. Received by the API, answered by
notification-worker.

`reservation_id` is the newest booking of that number, where there is one.
"""

from datetime import datetime
from typing import ClassVar

from llegada.events.event import Event
from llegada.events.types import Language, PhoneNumber, ReservationId


class GuestEvent(Event):
    """About one message of a guest, named by WhatsApp's id of it."""

    reservation_id: ReservationId | None = None
    provider_message_id: str

    @property
    def subject(self) -> str:
        if self.reservation_id is None:
            return f"message/{self.provider_message_id}"
        return f"reservation/{self.reservation_id}"

    @property
    def item(self) -> str | None:
        return self.provider_message_id


class GuestMessageReceived(GuestEvent):
    """A guest wrote. `text` is None where it was a picture, a voice message or the like; `media` says which."""

    type: ClassVar[str] = "guest.message_received"

    phone: PhoneNumber
    name: str = ""
    text: str | None = None
    media: str | None = None
    at: datetime


class GuestReplyReady(GuestEvent):
    """An answer was worked out. Consumed by the same worker's `reply`; useless after `until`."""

    type: ClassVar[str] = "guest.reply_ready"

    phone: PhoneNumber
    language: Language
    text: str
    keyword: str
    until: datetime


class GuestMessageAnswered(GuestEvent):
    """WhatsApp took our answer."""

    type: ClassVar[str] = "guest.message_answered"

    text: str
    keyword: str
    reply_id: str
    sent_at: datetime


class GuestMessageHandedOver(GuestEvent):
    """No rule answers it: a person has to."""

    type: ClassVar[str] = "guest.message_handed_over"

    reason: str

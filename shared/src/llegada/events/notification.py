"""What happens to a message for a guest, published by notification-worker."""

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from llegada.events.event import RECEIPT, Event, ReservationEvent, StepReport, StepState
from llegada.events.lock import Passcode
from llegada.events.types import Channel, EmailAddress, Intent, Language, Money, PhoneNumber

MessageKind = Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")]
"""Which message it is; also the name of the step that its sending completes."""


DeliveryStatus = Literal["sent", "delivered", "read", "failed"]


class NotificationReady(ReservationEvent):
    """All facts for one message on one channel are there: it can be sent. Consumed by the same worker's `send`.

    `passcodes`: what opens the doors, of `passcode_intent`; empty where the message names none. `fallback_email`: where
    the message goes when the guest cannot be reached by WhatsApp.
    """

    type: ClassVar[str] = "notification.ready"

    kind: MessageKind
    intent: Intent = 1
    channel: Channel
    recipient: PhoneNumber | EmailAddress
    language: Language
    guest_name: str
    property_name: str
    amount: Money
    check_in_date: date
    check_out_date: date
    check_in_url: str
    payment_url: str = ""
    contact_version: Intent = 1
    passcode_intent: int = 0
    passcodes: tuple[Passcode, ...] = ()
    room: str | None = None
    custom_message: str | None = None
    fallback_email: EmailAddress | None = None

    @property
    def step(self) -> str | None:
        return self.kind

    def report(self) -> StepReport | None:
        return StepReport(step=self.kind, state=StepState.PROCESSING, intent=self.intent)


class NotificationSent(ReservationEvent):
    """The provider accepted the message. Whether it arrived is told by its receipts, later.

    `text` is what the guest reads, but for door codes, which are masked.
    """

    type: ClassVar[str] = "notification.sent"

    kind: MessageKind
    intent: Intent = 1
    channel: Channel
    recipient: PhoneNumber | EmailAddress
    text: str
    template: str | None = None
    provider_message_id: str
    sent_at: datetime

    @property
    def step(self) -> str | None:
        return self.kind

    def report(self) -> StepReport | None:
        return StepReport(step=self.kind, state=StepState.COMPLETED, intent=self.intent)


class NotificationStatus(Event):
    """A provider told what became of a message: repeated, late, and in any order.

    `own_key` is the reference that we gave with the attempt, if the provider gives it back: it tells which attempt was
    worked, also when its answer was lost.
    """

    type: ClassVar[str] = "notification.status"

    provider_message_id: str
    own_key: str | None = None
    status: DeliveryStatus
    at: datetime
    error_code: str | None = None
    error: str | None = None

    @property
    def subject(self) -> str:
        return f"notification/{self.provider_message_id}"


class ReceiptEvent(ReservationEvent):
    """What became of a message that was sent; each status once, forward only.

    That it arrived is a report too: it takes back an earlier word that it did not.
    """

    kind: MessageKind
    intent: Intent = 1
    channel: Channel = Channel.WHATSAPP
    provider_message_id: str
    at: datetime

    @property
    def step(self) -> str | None:
        return self.kind

    def report(self) -> StepReport | None:
        return StepReport(step=self.kind, state=StepState.COMPLETED, intent=self.intent, job=RECEIPT)


class NotificationDelivered(ReceiptEvent):
    """It is on the guest's phone."""

    type: ClassVar[str] = "notification.delivered"


class NotificationRead(ReceiptEvent):
    """The guest has opened it."""

    type: ClassVar[str] = "notification.read"


class NotificationFailed(ReceiptEvent):
    """The provider took it, and told later that it did not arrive. `elsewhere`: it left by another channel too."""

    type: ClassVar[str] = "notification.failed"

    reason: str
    code: str | None = None
    elsewhere: bool = False

    def report(self) -> StepReport | None:
        if self.elsewhere:
            return None
        advice = "Reach the guest in another way: correct the contact, or call."
        return StepReport(
            step=self.kind,
            state=StepState.FAILED,
            intent=self.intent,
            job=RECEIPT,
            reason=self.reason,
            advice=advice,
        )

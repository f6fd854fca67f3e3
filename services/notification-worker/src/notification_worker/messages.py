"""Which facts a message waits for, and when it is complete. Pure.

One document per reservation holds the facts and the messages; whoever changes it has its row locked, so two facts that
arrive at the same instant see each other. A message never takes an old fact: the cause names the intent of each fact
that it wants, and a fact counts from that intent on.
"""

from typing import Any

from pydantic import BaseModel, Field

from llegada.events.lock import Passcode, PasscodeIssued
from llegada.events.notification import MessageKind, NotificationReady
from llegada.events.payment import PaymentEvent, PaymentLinkCreated, PaymentSettled, PaymentVoided
from llegada.events.reservation import (
    CHECK_IN_CONFIRMATION,
    INVITATION,
    PASSCODE,
    PAYMENT_LINK,
    BookingEvent,
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationContactUpdated,
    ReservationCreated,
    ReservationInvitationDue,
    ReservationPinRequested,
)
from llegada.events.types import Channel, Contact
from llegada.messaging.failures import Permanent

Cause = (
    ReservationCreated
    | ReservationContactUpdated
    | ReservationCheckedIn
    | ReservationPinRequested
    | ReservationInvitationDue
)
"""What opens a message."""
FactFor = PaymentLinkCreated | PasscodeIssued | PaymentSettled | PaymentVoided
End = ReservationCancelled | ReservationCheckedOut

FACTS = (PAYMENT_LINK, PASSCODE)
"""What a message may wait for: it waits for those that its cause wants."""


class Fact(BaseModel):
    """Something that a message may wait for, under the intent that wanted it."""

    intent: int
    value: Any


class Message(BaseModel):
    """A message that was opened by its cause; `wanted`: fact → the least intent that will do."""

    kind: MessageKind
    intent: int
    wanted: dict[str, int]
    cause: dict[str, Any]
    ready: bool = False

    @property
    def contact_version(self) -> int:
        return int(self.cause.get("contact_version", 1))


class Booking(BaseModel):
    """What is known about one reservation.

    `contact_version`, `passcode_intent`: the newest that any cause named. `ended`: why nothing more is sent. `paid`:
    whether nothing asks for payment any more.
    """

    facts: dict[str, Fact] = Field(default_factory=dict)
    messages: list[Message] = Field(default_factory=list)
    contact_version: int = 1
    passcode_intent: int = 0
    ended: str | None = None
    paid: bool = False
    payment_revision: int = 0

    def note(self, name: str, intent: int, value: Any) -> None:
        """Take a fact; an older one changes nothing."""
        known = self.facts.get(name)
        if known is None or known.intent < intent:
            self.facts[name] = Fact(intent=intent, value=value)

    def open(self, cause: Cause) -> None:
        """Open the message of a cause; the same one twice is one."""
        kind = cause.message
        intents = {name: intent for name, intent in cause.wanted().items() if intent is not None}
        self.contact_version = max(self.contact_version, cause.contact_version)
        self.passcode_intent = max(self.passcode_intent, intents.get(PASSCODE, 0))
        if (kind, intents[kind]) not in {(m.kind, m.intent) for m in self.messages}:
            wanted = {name: intents[name] for name in FACTS if name in intents}
            content = cause.model_dump(mode="json")
            self.messages.append(Message(kind=kind, intent=intents[kind], wanted=wanted, cause=content))

    def take_complete(self) -> list[Message]:
        """The messages whose last fact is there now; each is returned once, and none that nobody wants any more."""
        complete = [m for m in self.messages if not m.ready and self._has(m.wanted)]
        for message in complete:
            message.ready = True
        return [m for m in complete if self._unwanted(m.kind, m.intent, m.contact_version) is None]

    def newest(self) -> BookingEvent | None:
        """The booking as the newest cause told it; None before any."""
        newest = max(self.messages, key=lambda m: m.contact_version, default=None)
        return None if newest is None else BookingEvent.model_validate(newest.cause)

    def payment_url(self) -> str:
        """Where the guest can still pay; empty where there is nothing to pay."""
        return "" if self.paid or PAYMENT_LINK not in self.facts else str(self.facts[PAYMENT_LINK].value)

    def ready_again(self, kind: MessageKind, intent: int) -> list[NotificationReady]:
        """A message that was complete before, as it would leave today; nothing if nobody wants it any more."""
        known = [m for m in self.messages if (m.kind, m.intent) == (kind, intent) and m.ready and self._has(m.wanted)]
        return [
            ready
            for message in known
            if self._unwanted(kind, intent, message.contact_version) is None
            for ready in _ready(message, self)
        ]

    def unwanted(self, event: NotificationReady) -> str | None:
        """Why this message shall not be sent any more; None: it shall."""
        if event.passcodes and event.passcode_intent < self.passcode_intent:
            return "its door code was replaced; the new one comes with a message of its own"
        return self._unwanted(event.kind, event.intent, event.contact_version)

    def _unwanted(self, kind: MessageKind, intent: int, contact_version: int) -> str | None:
        if self.ended is not None:
            return self.ended
        if contact_version < self.contact_version:
            return "the guest's contact has changed"
        if kind == INVITATION and any(m.kind == CHECK_IN_CONFIRMATION for m in self.messages):
            return "the guest has checked in already"
        if any(m.kind == kind and m.intent > intent for m in self.messages):
            return "a newer message took its place"
        return None

    def _has(self, wanted: dict[str, int]) -> bool:
        return all(
            (name == PAYMENT_LINK and self.paid) or (name in self.facts and self.facts[name].intent >= intent)
            for name, intent in wanted.items()
        )


def take(booking: Booking, event: Cause | FactFor | End) -> list[NotificationReady]:
    """Note what the event says in `booking`; the messages that can be sent because of it."""
    match event:
        case BookingEvent():
            reachable(event)  # who cannot be reached shall be told now, not when the link is there
            booking.open(event)
        case PaymentLinkCreated():
            booking.note(PAYMENT_LINK, event.intent, event.url)
        case PasscodeIssued():
            booking.note(PASSCODE, event.intent, [code.model_dump(mode="json") for code in event.passcodes])
        case PaymentEvent():
            if event.revision > booking.payment_revision:
                booking.payment_revision, booking.paid = event.revision, event.payment_status == "paid"
        case ReservationCancelled():
            booking.ended = "the reservation was cancelled"
        case ReservationCheckedOut():
            booking.ended = "the guest has checked out"
    return [ready for message in booking.take_complete() for ready in _ready(message, booking)]


def reachable(event: BookingEvent) -> dict[Channel, str]:
    """Channel → recipient, in the organization's order; raises Permanent where there is none."""
    contact: Contact = event.contact
    known = {Channel.WHATSAPP: contact.phone, Channel.EMAIL: contact.email}
    found = {channel: recipient for channel in event.channels if (recipient := known[channel]) is not None}
    if not found and contact.email is not None:
        found = {Channel.EMAIL: contact.email}  # guests without a phone get e-mail, whatever is switched on
    if not found:
        raise Permanent(
            f"the guest can be reached by none of the channels that are switched on ({', '.join(event.channels)})",
            code="channel",
            advice="Switch on a channel for which the reservation has an address, or add an address.",
        )
    return found


def _ready(message: Message, booking: Booking) -> list[NotificationReady]:
    cause = BookingEvent.model_validate(message.cause)
    recipients = reachable(cause)
    link = booking.facts[PAYMENT_LINK].value if PAYMENT_LINK in message.wanted and not booking.paid else ""
    codes = booking.facts[PASSCODE] if PASSCODE in message.wanted else Fact(intent=0, value=[])
    return [
        NotificationReady(
            organization_id=cause.organization_id,
            reservation_id=cause.reservation_id,
            kind=message.kind,
            intent=message.intent,
            channel=channel,
            recipient=recipient,
            language=cause.language,
            guest_name=cause.guest_name,
            property_name=cause.property_name,
            amount=cause.amount,
            check_in_date=cause.check_in_date,
            check_out_date=cause.check_out_date,
            check_in_url=cause.check_in_url,
            payment_url=link,
            contact_version=cause.contact_version,
            passcode_intent=codes.intent,
            passcodes=tuple(Passcode.model_validate(code) for code in codes.value),
            room=(message.cause.get("stay") or {}).get("room"),
            custom_message=message.cause.get("custom_message"),
            fallback_email=cause.contact.email if Channel.EMAIL not in recipients else None,
        )
        for channel, recipient in recipients.items()
    ]

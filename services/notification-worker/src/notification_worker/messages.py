"""Which facts a message waits for, and when it is complete. Pure.

One document per reservation holds the facts and the messages; whoever changes it has its row locked, so two facts that
arrive at the same instant see each other. A message never takes an old fact: the cause names the intent of each fact
that it wants, and a fact counts from that intent on.
"""

from typing import Any

from pydantic import BaseModel, Field

from llegada.events.notification import MessageKind, NotificationReady
from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import CONFIRMATION, PAYMENT_LINK, ReservationCreated
from llegada.events.types import Channel, Contact
from llegada.messaging.failures import Permanent

PAYMENT_FACT = PAYMENT_LINK


class Fact(BaseModel):
    """Something that a message may wait for, under the intent that wanted it."""

    intent: int
    value: str


class Message(BaseModel):
    """A message that was opened by its cause; `wanted`: fact → the least intent that will do."""

    kind: MessageKind
    intent: int
    wanted: dict[str, int]
    cause: dict[str, Any]
    ready: bool = False


class Booking(BaseModel):
    """What is known about one reservation."""

    facts: dict[str, Fact] = Field(default_factory=dict)
    messages: list[Message] = Field(default_factory=list)

    def note(self, name: str, intent: int, value: str) -> None:
        """Take a fact; an older one changes nothing."""
        known = self.facts.get(name)
        if known is None or known.intent < intent:
            self.facts[name] = Fact(intent=intent, value=value)

    def open(self, kind: MessageKind, intent: int, wanted: dict[str, int], cause: ReservationCreated) -> None:
        """Open a message; the same one twice is one."""
        if (kind, intent) not in {(m.kind, m.intent) for m in self.messages}:
            content = cause.model_dump(mode="json")
            self.messages.append(Message(kind=kind, intent=intent, wanted=wanted, cause=content))

    def take_complete(self) -> list[Message]:
        """The messages whose last fact is there now; each is returned once."""
        complete = [m for m in self.messages if not m.ready and self._has(m.wanted)]
        for message in complete:
            message.ready = True
        return complete

    def is_outdated(self, kind: MessageKind, intent: int) -> bool:
        """Whether somebody wanted the same message anew since."""
        return any(m.kind == kind and m.intent > intent for m in self.messages)

    def _has(self, wanted: dict[str, int]) -> bool:
        return all(name in self.facts and self.facts[name].intent >= intent for name, intent in wanted.items())


def take(booking: Booking, event: ReservationCreated | PaymentLinkCreated) -> list[NotificationReady]:
    """Note what the event says in `booking`; the messages that can be sent because of it."""
    match event:
        case ReservationCreated():
            reachable(event)  # who cannot be reached shall be told now, not when the link is there
            booking.open(CONFIRMATION, event.confirmation_intent, {PAYMENT_FACT: event.payment_link_intent}, event)
        case PaymentLinkCreated():
            booking.note(PAYMENT_FACT, event.intent, event.url)
    return [ready for message in booking.take_complete() for ready in _ready(message, booking)]


def reachable(event: ReservationCreated) -> dict[Channel, str]:
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
    cause = ReservationCreated.model_validate(message.cause)
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
            payment_url=booking.facts[PAYMENT_FACT].value,
        )
        for channel, recipient in reachable(cause).items()
    ]

"""What an event changes in a reservation's own fields. Pure.

A link of an older intent is never shown; states only go forward: confirmed → notification_sent.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from llegada.events.event import Event
from llegada.events.notification import NotificationSent
from llegada.events.payment import PaymentLinkCreated


@dataclass(frozen=True)
class Changes:
    """None leaves a field as it is."""

    payment_link: str | None = None
    payment_link_intent: int | None = None
    sent_message: str | None = None
    sent_message_at: datetime | None = None
    notification_sent: bool = False


NO_CHANGES = Changes()


def changes(event: Event, known_link_intent: int) -> Changes:
    match event:
        case PaymentLinkCreated() if event.intent > known_link_intent:
            return Changes(payment_link=event.url, payment_link_intent=event.intent)
        case NotificationSent():
            return Changes(sent_message=event.text, sent_message_at=event.sent_at, notification_sent=True)
        case _:
            return NO_CHANGES


def later(first: Changes, second: Changes) -> Changes:
    """Both, one after the other: what the second says counts."""
    if second == NO_CHANGES:
        return first
    said = {name: value for name in Changes.__dataclass_fields__ if (value := getattr(second, name))}
    return replace(first, **said)

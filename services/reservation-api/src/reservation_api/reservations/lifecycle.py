"""The states of a reservation, and what an event changes in its own fields. Pure.

    confirmed → notification_sent → checked_in → checked_out
        └────────────┴→ cancelled, no_show

A link or a code of an older intent is never shown; states only go forward.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from llegada.events.event import Event
from llegada.events.lock import PasscodeIssued, PasscodeRevoked
from llegada.events.notification import NotificationSent
from llegada.events.payment import PaymentEvent, PaymentLinkCreated
from llegada.events.reservation import INVITATION
from llegada.events.sire import SireRegistered
from reservation_api.problems import Conflict

_COMING = frozenset({"confirmed", "notification_sent"})
_HERE = _COMING | {"checked_in"}
ACTIONS: dict[str, frozenset[str]] = {
    "guest-contact": _HERE,
    "guests": _HERE | {"checked_out"},
    "check-in": _COMING,
    "check-out": frozenset({"checked_in"}),
    "cancel": _COMING,
    "no-show": _COMING,
    "pin": _HERE,
    "invitation": _COMING,
    "sire": frozenset({"checked_in", "checked_out"}),
}
"""Action → the states in which it is possible."""


def allow(action: str, status: str) -> None:
    """Raises Conflict, and says what is possible instead."""
    if status not in ACTIONS[action]:
        possible = ", ".join(name for name, states in ACTIONS.items() if status in states) or "nothing more"
        raise Conflict(f"{action} is not possible while the reservation is {status}; possible: {possible}")


@dataclass(frozen=True)
class Changes:
    """None leaves a field as it is. `door_codes`: of `door_codes_intent`; empty once they were revoked."""

    payment_link: str | None = None
    payment_link_intent: int | None = None
    payment_link_expires_at: datetime | None = None
    sent_message: str | None = None
    sent_message_at: datetime | None = None
    notification_sent: bool = False
    invited_at: datetime | None = None
    door_codes: list[dict[str, Any]] | None = None
    door_codes_intent: int | None = None
    sire_registered_at: datetime | None = None
    payment: PaymentEvent | None = None
    """The newest word on payments; the store compares its revision."""


NO_CHANGES = Changes()


def changes(event: Event, known_link_intent: int, known_codes_intent: int) -> Changes:
    said = NO_CHANGES
    match event:
        case PaymentLinkCreated() if event.intent > known_link_intent:
            said = Changes(
                payment_link=event.url,
                payment_link_intent=event.intent,
                payment_link_expires_at=event.expires_at,
            )
        case PasscodeIssued() if event.intent > known_codes_intent:
            codes = [code.model_dump(mode="json") for code in event.passcodes]
            said = Changes(door_codes=codes, door_codes_intent=event.intent)
        case PasscodeRevoked():
            said = Changes(door_codes=[])
        case NotificationSent():
            said = Changes(
                sent_message=event.text,
                sent_message_at=event.sent_at,
                notification_sent=True,
                invited_at=event.sent_at if event.kind == INVITATION else None,
            )
        case PaymentEvent():
            said = Changes(payment=event)
        case SireRegistered() if event.movement == "entry":
            said = Changes(sire_registered_at=event.registered_at)
    return said


def later(first: Changes, second: Changes) -> Changes:
    """Both, one after the other: what the second says counts."""
    if second == NO_CHANGES:
        return first
    said = {name: getattr(second, name) for name in Changes.__dataclass_fields__}
    if first.payment is not None and second.payment is not None and first.payment.revision > second.payment.revision:
        said["payment"] = None
    return replace(first, **{name: value for name, value in said.items() if value is not None and value is not False})

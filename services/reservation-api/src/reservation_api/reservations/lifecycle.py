"""The life of a booking: its own status, the status of its processing, and what events change in it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from llegada.events.event import Event, StepState
from llegada.events.notification import NotificationSent
from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import CONFIRMATION
from reservation_api.reservations.steps import ShownStep, Steps, advance, announced, shown


class Status(StrEnum):
    """Where the guest stands."""

    CONFIRMED = "confirmed"
    NOTIFICATION_SENT = "notification_sent"
    CHECKED_IN = "checked_in"
    CHECKED_OUT = "checked_out"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"


class ProcessingStatus(StrEnum):
    """Where the background work stands, over all steps."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


_NEXT: dict[Status, frozenset[Status]] = {
    Status.CONFIRMED: frozenset({Status.NOTIFICATION_SENT, Status.CHECKED_IN, Status.CANCELLED, Status.NO_SHOW}),
    Status.NOTIFICATION_SENT: frozenset({Status.CHECKED_IN, Status.CANCELLED, Status.NO_SHOW}),
    Status.CHECKED_IN: frozenset({Status.CHECKED_OUT}),
    Status.CHECKED_OUT: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.NO_SHOW: frozenset(),
}


def possible(status: Status) -> frozenset[Status]:
    """The statuses that may follow `status`."""
    return _NEXT[status]


def processing_status(steps: Iterable[ShownStep]) -> ProcessingStatus:
    """Failed as soon as one step is; completed once every step is completed or skipped."""
    states = {step.state for step in steps}
    if StepState.FAILED in states:
        return ProcessingStatus.FAILED
    if states <= {StepState.COMPLETED, StepState.SKIPPED}:
        return ProcessingStatus.COMPLETED
    return ProcessingStatus.PENDING if states == {StepState.PENDING} else ProcessingStatus.PROCESSING


@dataclass(frozen=True)
class Progress:
    """What background work has brought to a reservation. The intents say which wish a link and a message answer."""

    status: Status
    steps: Steps
    payment_link: str | None = None
    payment_link_intent: int = 0
    sent_message: str | None = None
    sent_message_at: datetime | None = None
    sent_message_intent: int = 0

    @property
    def processing_status(self) -> ProcessingStatus:
        return processing_status(shown(self.steps))


def after(progress: Progress, event: Event) -> Progress:
    """`progress` after `event`; only ever forward, whatever the order and number of deliveries."""
    steps = announced(progress.steps, event)
    report = event.report()
    if report is not None:
        steps = advance(steps, report)
    progress = replace(progress, steps=steps)
    match event:
        case PaymentLinkCreated():
            return _with_link(progress, event)
        case NotificationSent() if event.kind == CONFIRMATION:
            return _with_message(progress, event)
        case _:
            return progress


def _with_link(progress: Progress, event: PaymentLinkCreated) -> Progress:
    """The link of the highest intent; the ledger shows one link per intent, the address only breaks a tie."""
    if (event.intent, event.url) <= (progress.payment_link_intent, progress.payment_link or ""):
        return progress
    return replace(progress, payment_link=event.url, payment_link_intent=event.intent)


def _with_message(progress: Progress, event: NotificationSent) -> Progress:
    """The message of the highest intent, of several channels the one that left last."""
    if Status.NOTIFICATION_SENT in possible(progress.status):
        progress = replace(progress, status=Status.NOTIFICATION_SENT)
    known_at = progress.sent_message_at.timestamp() if progress.sent_message_at else 0.0
    known = (progress.sent_message_intent, known_at, progress.sent_message or "")
    if (event.intent, event.sent_at.timestamp(), event.text) <= known:
        return progress
    return replace(progress, sent_message=event.text, sent_message_at=event.sent_at, sent_message_intent=event.intent)

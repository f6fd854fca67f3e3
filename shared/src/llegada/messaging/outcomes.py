"""How a delivery ends, as a value: what the inbox notes, what staff are told, what leaves. Pure: no I/O.

Success, skip and failure are built alike, so that there is one way out of a service: a Settlement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from llegada.events.event import Event
from llegada.events.job import JobFailed, JobRetrying, JobSkipped
from llegada.events.types import OrganizationId, ReservationId
from llegada.messaging.envelope import Envelope, caused
from llegada.messaging.failures import Failure, GiveUp, LeaseHeld, Postponed, SlotLater, TryAgain, decide, next_try
from llegada.messaging.inbox import Settlement
from llegada.messaging.outbox import OutboxMessage, dead_letter_message, event_message, retry_message
from llegada.messaging.retry import RetryPolicy
from llegada.messaging.subscription import Published
from llegada.messaging.topology import queue_name


@dataclass(frozen=True)
class Outcomes:
    """The ends that a delivery at one subscriber can have. `step` is the subscription's, if it names one."""

    service: str
    action: str
    retry: RetryPolicy
    step: str | None

    @property
    def name(self) -> str:
        return f"{self.service}.{self.action}"

    def done(self, envelope: Envelope, published: Published) -> Settlement:
        """The handler did its work, and this leaves because of it."""
        return self._settlement(envelope, "done", self.messages(envelope, published))

    def messages(self, envelope: Envelope, published: Published) -> list[OutboxMessage]:
        """What a handler returned, with ids derived from the cause."""
        events = [] if published is None else [published] if isinstance(published, Event) else list(published)
        counts: dict[str, int] = {}
        messages = []
        for event in events:
            ordinal = counts[event.type] = counts.get(event.type, -1) + 1
            messages.append(self._message(event, envelope, str(ordinal)))
        return messages

    def skipped(self, envelope: Envelope, reason: str, event: Event, intent: int) -> Settlement:
        """The effect was no longer wanted."""
        about = self._about(envelope, reason, event, intent)
        return self._settlement(envelope, "skipped", [self._job(JobSkipped(**about), envelope)], reason=reason)

    def failed(
        self, envelope: Envelope, body: bytes, failure: Failure, event: Event | None, intent: int, now: datetime
    ) -> Settlement:
        """What `decide` says about the failure: the message goes to a rung or becomes a dead letter."""
        attempt = envelope.attempt + 1
        about = self._about(envelope, failure.reason, event, intent)
        about |= {"attempts": self.retry.attempts, "error_class": failure.failure_class.value}
        notes = {
            "error_class": failure.failure_class.value,
            "error": failure.reason[:1000],
            "error_code": failure.code,
            "failed_at": now.isoformat(),
            "queue": self.name,
        }
        match decide(failure, attempt, now - (envelope.replayed_at or envelope.time), self.retry):
            case TryAgain() as again:
                settlement = self._again(again, failure, envelope, body, about, notes, now)
            case GiveUp(why):
                dead = replace(envelope, attempt=attempt, notes={**notes, "attempts": attempt, "gave_up": why})
                job = self._job(JobFailed(**about, attempt=attempt, advice=failure.advice), envelope)
                messages = [job, dead_letter_message(self.service, dead, body)]
                settlement = self._settlement(dead, "dead", messages)
        return replace(settlement, failure_class=failure.failure_class.value, reason=failure.reason)

    def _again(
        self,
        decision: TryAgain,
        failure: Failure,
        envelope: Envelope,
        body: bytes,
        about: dict[str, Any],
        notes: dict[str, Any],
        now: datetime,
    ) -> Settlement:
        due = next_try(decision, now)
        until = failure.until if isinstance(failure, Postponed) else None
        again = replace(
            envelope.again(counts=decision.counts),
            postponed_to=until,
            notes={**notes, "next_try_at": due.isoformat()},
        )
        queue = queue_name(self.service, self.action, envelope.lane)
        messages = [retry_message(queue, again, body, decision.delay, due)]
        takes_its_turn = isinstance(failure, LeaseHeld | SlotLater)  # nothing that staff should see
        told_before = until is not None and until == envelope.postponed_to  # it comes back rung by rung
        if not takes_its_turn and not told_before:
            job = JobRetrying(**about, attempt=again.attempt, next_try_at=until or due, advice=failure.advice)
            messages.append(self._job(job, envelope))
        outcome = "retrying" if decision.counts else "waiting"
        settlement = self._settlement(envelope, outcome, messages)
        return replace(settlement, attempt=again.attempt, next_try_at=due)

    def _settlement(
        self, envelope: Envelope, outcome: str, messages: Sequence[OutboxMessage], reason: str | None = None
    ) -> Settlement:
        return Settlement(
            self.name, envelope.id, envelope.pass_number, envelope.attempt, outcome, messages, reason=reason
        )

    def _message(self, event: Event, cause: Envelope, ordinal: str) -> OutboxMessage:
        envelope = caused(event, cause, subscriber=self.name, source=self.service, ordinal=ordinal)
        return event_message(event, envelope)

    def _job(self, event: Event, cause: Envelope) -> OutboxMessage:
        return self._message(event, cause, f"0|{cause.pass_number}")

    def _about(self, envelope: Envelope, reason: str, event: Event | None, intent: int) -> dict[str, Any]:
        """What all job events say; an undecodable message still tells its subject by its headers."""
        what, _, number = envelope.subject.partition("/")
        return {
            "organization_id": OrganizationId(envelope.organization),
            "job": self.name,
            "step_name": self.step or (event.step if event is not None else None),
            "intent": intent or getattr(event, "intent", 0),
            "reservation_id": ReservationId(int(number)) if what == "reservation" and number.isdigit() else None,
            "cause_type": envelope.type,
            "cause_item": event.item if event is not None else None,
            "pass_number": envelope.pass_number,
            "reason": reason,
        }

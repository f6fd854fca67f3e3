"""CloudEvents 1.0 attributes on AMQP 0-9-1 properties: what the management console shows is what the event is.

| CloudEvents     | AMQP                                                  |
|-----------------|-------------------------------------------------------|
| id              | property `message_id` (UUIDv7, or derived: UUIDv5)     |
| type            | property `type`, and the routing key                  |
| source          | property `app_id`                                     |
| time            | property `timestamp` (seconds), header `time` (exact) |
| subject         | header `subject`                                      |
| datacontenttype | property `content_type`                               |

Everything else is a header. The body is the event's JSON alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from uuid_utils.compat import uuid7

from llegada.events.event import Event

CONTENT_TYPE = "application/json"
NAMESPACE = UUID("8b0a6c52-6f0e-5c39-9f6e-0c5c0a5a7d11")
"""Namespace of derived event ids; never change it, or every redelivery during an upgrade becomes a new event."""

_TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")


class Lane(StrEnum):
    """`interactive`: a person waits. `bulk`: a scheduler fans out. Inherited by everything that an event causes."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True)
class Envelope:
    """Everything about an event but its body.

    `pass_number` goes up each time the message is sent again, `attempt` counts what failed. `sequence` orders events
    of one source and subject; it is drawn from the outbox when the row is written.
    """

    id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    organization: int
    correlation_id: str
    causation_id: str | None = None
    lane: Lane = Lane.INTERACTIVE
    sequence: int | None = None
    pass_number: int = 0
    attempt: int = 0
    traceparent: str | None = None
    replayed_at: datetime | None = None
    """When a person sent it again: from then on its waiting is measured anew."""
    postponed_to: datetime | None = None
    """Until when it waits, as staff were told."""
    notes: Mapping[str, Any] | None = None
    """Headers of a failure on its way to a rung or a dead-letter queue; not part of the event."""

    def again(self, *, counts: bool) -> "Envelope":
        """The same message, sent once more."""
        return replace(self, pass_number=self.pass_number + 1, attempt=self.attempt + counts)

    def replay(self, now: datetime) -> "Envelope":
        """The same message, sent once more by a person: a new pass, and its attempts begin anew."""
        return replace(
            self, pass_number=self.pass_number + 1, attempt=0, replayed_at=now, postponed_to=None, notes=None
        )

    def headers(self) -> dict[str, Any]:
        known = {
            "subject": self.subject,
            "organization": self.organization,
            "causation_id": self.causation_id,
            "sequence": self.sequence,
            "lane": self.lane.value,
            "pass": self.pass_number,
            "attempt": self.attempt,
            "time": self.time.isoformat(),
            "traceparent": self.traceparent,
            "replayed_at": self.replayed_at.isoformat() if self.replayed_at is not None else None,
            "postponed_to": self.postponed_to.isoformat() if self.postponed_to is not None else None,
            **(self.notes or {}),
        }
        return {name: value for name, value in known.items() if value is not None}


def first(event: Event, *, source: str, correlation_id: str, lane: Lane, traceparent: str | None) -> Envelope:
    """The envelope of an event that no other event caused: a person or a clock did."""
    return Envelope(
        id=uuid7(),
        type=event.type,
        source=source,
        subject=event.subject,
        time=datetime.now(UTC),
        organization=event.organization_id,
        correlation_id=correlation_id,
        lane=lane,
        traceparent=valid_traceparent(traceparent),
    )


def caused(event: Event, cause: Envelope, *, subscriber: str, source: str, ordinal: str) -> Envelope:
    """The envelope of an event that a handler published because of `cause`.

    Its id is derived from the cause, so that a handler that runs twice publishes the same event twice and every
    consumer can tell. `ordinal` tells apart several events of one type; for `job.*` it names the pass.
    """
    return Envelope(
        id=derived_id(cause.id, subscriber, event.type, ordinal),
        type=event.type,
        source=source,
        subject=event.subject,
        time=datetime.now(UTC),
        organization=event.organization_id,
        correlation_id=cause.correlation_id,
        causation_id=str(cause.id),
        lane=cause.lane,
        traceparent=cause.traceparent,
    )


def read(
    message_id: UUID,
    event_type: str,
    app_id: str | None,
    correlation_id: str | None,
    headers: Mapping[str, Any],
) -> Envelope:
    """The envelope of a message that arrived. What is missing or senseless gets a harmless value: a foreign message
    must become a dead letter, not an endless redelivery.
    """
    lane = headers.get("lane")
    return Envelope(
        id=message_id,
        type=event_type,
        source=app_id or "unknown",
        subject=_text(headers.get("subject")) or "unknown",
        time=_time(headers.get("time")) or datetime.now(UTC),
        organization=_number(headers.get("organization")),
        correlation_id=correlation_id or str(message_id),
        causation_id=_text(headers.get("causation_id")),
        lane=Lane(lane) if lane in set(Lane) else Lane.INTERACTIVE,
        sequence=_number(headers.get("sequence")) or None,
        pass_number=_number(headers.get("pass")),
        attempt=_number(headers.get("attempt")),
        traceparent=valid_traceparent(_text(headers.get("traceparent"))),
        replayed_at=_time(headers.get("replayed_at")),
        postponed_to=_time(headers.get("postponed_to")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _time(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def derived_id(cause: UUID, subscriber: str, event_type: str, ordinal: str) -> UUID:
    return uuid5(NAMESPACE, f"{cause}|{subscriber}|{event_type}|{ordinal}")


def valid_traceparent(value: str | None) -> str | None:
    """W3C Trace Context, version 00; anything else is dropped, as the recommendation asks."""
    return value if value is not None and _TRACEPARENT.match(value) else None

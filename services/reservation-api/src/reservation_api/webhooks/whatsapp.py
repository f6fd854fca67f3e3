"""What Meta's webhooks say, as events. Lenient: what is unknown here is ignored, since Meta repeats what is not taken.

Source: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks (payload, X-Hub-Signature-256).
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, get_args
from uuid import uuid5

import structlog
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from llegada.events.guest import GuestMessageReceived
from llegada.events.notification import DeliveryStatus, NotificationStatus
from llegada.events.types import OrganizationId
from llegada.messaging.envelope import NAMESPACE, Lane, first
from llegada.messaging.outbox import OutboxMessage, event_message

log = structlog.get_logger()
M = TypeVar("M", bound=BaseModel)

SOURCE = "reservation-api"
_OURS = re.compile(r"^[A-Za-z0-9_-]{1,100}$")  # effects.Attempt.reference; kinds have underscores
_KNOWN = frozenset(get_args(DeliveryStatus))


class _Error(BaseModel):
    code: int
    title: str = ""


class _Status(BaseModel):
    id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
    status: str
    timestamp: int
    biz_opaque_callback_data: str | None = None
    """Other systems on the same number may put anything here."""
    errors: list[_Error] = Field(default_factory=list)


class _Text(BaseModel):
    body: Annotated[str, StringConstraints(max_length=4096)]


class _Inbound(BaseModel):
    id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
    sender: Annotated[str, Field(alias="from"), StringConstraints(pattern=r"^[1-9][0-9]{6,14}$")]
    timestamp: int
    type: str
    text: _Text | None = None


class _Profile(BaseModel):
    name: str = ""


class _Contact(BaseModel):
    wa_id: str | None = None
    """Newer contacts may have a `user_id` alone."""
    profile: _Profile = _Profile()


class _Metadata(BaseModel):
    phone_number_id: str


class _Value(BaseModel):
    metadata: _Metadata
    statuses: list[Any] = Field(default_factory=list)
    messages: list[Any] = Field(default_factory=list)
    contacts: list[Any] = Field(default_factory=list)
    """Read one by one: what one of a thousand has of its own must not keep the others from being heard."""


class _Change(BaseModel):
    field: str
    value: dict[str, Any]


class _Entry(BaseModel):
    changes: list[_Change] = Field(default_factory=list)


class Notification(BaseModel):
    """The whole POST: up to a thousand updates of several senders."""

    object: Literal["whatsapp_business_account"]
    entry: list[_Entry]


@dataclass(frozen=True)
class News:
    """`unknown`: phone number ids that are no organization's."""

    statuses: list[OutboxMessage]
    written: list[GuestMessageReceived]
    unknown: set[str]


def signed(secret: str, body: bytes, header: str | None) -> bool:
    """Whether the raw bytes carry Meta's signature; compared in constant time."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (header or "").encode())


def messages(notification: Notification, numbers: Mapping[str, int], correlation_id: str) -> News:
    """Every status update as an event, every message of a guest, and the senders that no organization has.

    The event's id is derived from message and status, so that Meta's repetitions are the same event.
    """
    found: dict[str, OutboxMessage] = {}
    written: dict[str, GuestMessageReceived] = {}
    unknown: set[str] = set()
    for change in (change for entry in notification.entry for change in entry.changes if change.field == "messages"):
        value = _Value.model_validate(change.value)
        number = value.metadata.phone_number_id
        if number not in numbers:
            unknown.add(number)
            continue
        for status in _each(_Status, value.statuses):
            if status.status in _KNOWN:
                found[f"{status.id}|{status.status}"] = _message(status, numbers[number], correlation_id)
        names = {contact.wa_id: contact.profile.name for contact in _each(_Contact, value.contacts)}
        for inbound in _each(_Inbound, value.messages):
            written[inbound.id] = _written(inbound, names.get(inbound.sender, ""), numbers[number])
    return News(list(found.values()), list(written.values()), unknown)


def _each(cls: type[M], items: Iterable[object]) -> Iterator[M]:
    for item in items:
        try:
            yield cls.model_validate(item)
        except ValidationError as error:
            where = [".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False)]
            log.warning("update_of_unknown_shape", what=cls.__name__.strip("_").lower(), fields=where)


def _written(inbound: _Inbound, name: str, organization: int) -> GuestMessageReceived:
    return GuestMessageReceived(
        organization_id=OrganizationId(organization),
        provider_message_id=inbound.id,
        phone=e164_of(inbound.sender),
        name=_storable(name)[:200],
        text=None if inbound.text is None else _storable(inbound.text.body),
        media=None if inbound.text is not None else inbound.type[:40],
        at=datetime.fromtimestamp(inbound.timestamp, UTC),
    )


def _storable(text: str) -> str:
    """Without NUL, which PostgreSQL cannot hold: what is refused Meta would send again and again."""
    return text.replace("\x00", "")


def e164_of(wa_id: str) -> str:
    """WhatsApp's own name of a number is E.164 without the plus, but that Mexico's mobiles carry a 1 after the 52."""
    mexican = wa_id.startswith("521") and len(wa_id) == 13  # noqa: PLR2004 - 52, the 1, and ten digits
    return f"+52{wa_id[3:]}" if mexican else f"+{wa_id}"


def guest_message(event: GuestMessageReceived, correlation_id: str) -> OutboxMessage:
    """The event's id is derived from WhatsApp's, so that Meta's repetitions are the same event."""
    envelope = first(event, source=SOURCE, correlation_id=correlation_id, lane=Lane.INTERACTIVE, traceparent=None)
    return event_message(event, replace(envelope, id=uuid5(NAMESPACE, f"whatsapp|{event.provider_message_id}")))


def _message(status: _Status, organization: int, correlation_id: str) -> OutboxMessage:
    error, key = status.errors[0] if status.errors else None, status.biz_opaque_callback_data
    event = NotificationStatus.model_validate(
        {
            "organization_id": OrganizationId(organization),
            "provider_message_id": status.id,
            "own_key": key if key is not None and _OURS.match(key) else None,
            "status": status.status,
            "at": datetime.fromtimestamp(status.timestamp, UTC),
            "error_code": None if error is None else str(error.code),
            "error": None if error is None else error.title,
        }
    )
    envelope = first(event, source=SOURCE, correlation_id=correlation_id, lane=Lane.INTERACTIVE, traceparent=None)
    derived = uuid5(NAMESPACE, f"whatsapp|{status.id}|{status.status}")
    return event_message(event, replace(envelope, id=derived))

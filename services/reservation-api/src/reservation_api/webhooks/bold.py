"""What Bold's webhooks say, as an event.

Source: developers.bold.co/webhook. The signature is the hex HMAC-SHA256 of the base64 of the raw body, with the
merchant's secret key; in Bold's test mode the key is empty, which is allowed only with a switch of its own, since
anybody could sign so.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import uuid5

from pydantic import BaseModel, Field, SecretStr, StringConstraints

from llegada.events.payment import PaymentWebhookReceived
from llegada.events.types import OrganizationId
from llegada.messaging.envelope import NAMESPACE, Lane, first
from llegada.messaging.outbox import OutboxMessage, event_message

SOURCE = "reservation-api"
_Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]


class _Amount(BaseModel):
    total: Annotated[int, Field(ge=0)]


class _Metadata(BaseModel):
    reference: Annotated[str, StringConstraints(max_length=100)] | None = None


class _Data(BaseModel):
    payment_id: _Id
    amount: _Amount
    metadata: _Metadata = _Metadata()
    payment_method: Annotated[str, StringConstraints(max_length=40)] | None = None
    bold_code: Annotated[str, StringConstraints(max_length=40)] | None = None


class Notification(BaseModel):
    """The whole POST. `time`: epoch nanoseconds."""

    id: _Id
    type: Literal["SALE_APPROVED", "SALE_REJECTED", "VOID_APPROVED", "VOID_REJECTED"]
    time: int
    data: _Data


def signers(secrets: Mapping[int, SecretStr], test_organization: int | None, body: bytes, header: str) -> list[int]:
    """The organizations whose key signed these bytes: several where they share a merchant, none where it is nobody's.

    Every key is compared in constant time.
    """
    content, found = base64.b64encode(body), list[int]()
    keys = {organization: secret.get_secret_value() for organization, secret in secrets.items()}
    if test_organization is not None:
        keys.setdefault(test_organization, "")
    for organization, key in keys.items():
        expected = hmac.new(key.encode(), content, hashlib.sha256).hexdigest()
        if hmac.compare_digest(expected.encode(), header.encode()):
            found.append(organization)
    return found


def message(told: Notification, organization: int, correlation_id: str) -> OutboxMessage:
    """The event's id is derived from Bold's, so that Bold's repetitions are the same event."""
    event = PaymentWebhookReceived(
        organization_id=OrganizationId(organization),
        bold_event_id=told.id,
        kind=told.type,
        payment_id=told.data.payment_id,
        reference=told.data.metadata.reference,
        total=told.data.amount.total,
        method=told.data.payment_method,
        bold_code=told.data.bold_code,
        at=datetime.fromtimestamp(told.time / 1_000_000_000, UTC),
    )
    envelope = first(event, source=SOURCE, correlation_id=correlation_id, lane=Lane.INTERACTIVE, traceparent=None)
    return event_message(event, replace(envelope, id=uuid5(NAMESPACE, f"bold|{organization}|{told.id}")))

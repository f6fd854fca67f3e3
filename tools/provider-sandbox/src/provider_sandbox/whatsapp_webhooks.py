"""What Meta's webhooks tell: what became of a message, and what a guest wrote."""

import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from provider_sandbox.whatsapp_errors import status_error
from provider_sandbox.whatsapp_rules import wa_id

MessageStatus = Literal["sent", "delivered", "read", "failed"]

OUTSIDE_WINDOW = "Message failed to send because more than 24 hours have passed since the customer last replied"


class StatusUpdate(BaseModel):
    """A status webhook of `POST /_sandbox/webhooks`: of one message, by its id or by its own key."""

    model_config = ConfigDict(extra="forbid")

    status: MessageStatus
    message_id: str | None = None
    reference: str | None = None
    code: int = 131026
    """Of the error that a `failed` status tells."""


class Inbound(BaseModel):
    """A guest writes: a webhook of `POST /_sandbox/webhooks` that opens the 24 hours."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    sender: Annotated[str, Field(alias="from", pattern=r"^\+?[1-9][0-9]{6,14}$")]
    text: str
    phone_number_id: str
    name: str = "Guest"
    message_id: str | None = None

    @property
    def guest(self) -> str:
        return self.sender.removeprefix("+")


@dataclass(frozen=True)
class Message:
    """An accepted message, as far as its status webhooks tell it."""

    id: str
    number: str
    recipient: str
    reference: str | None


def inbound_webhook(inbound: Inbound) -> dict[str, Any]:
    """A text that a guest wrote."""
    guest = wa_id(inbound.guest)
    message = {
        "from": guest,
        "id": inbound.message_id or f"wamid.{secrets.token_hex(16).upper()}",
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": inbound.text},
    }
    contact = {"profile": {"name": inbound.name}, "wa_id": guest}
    return _envelope(inbound.phone_number_id, contacts=[contact], messages=[message])


def status_webhook(message: Message, status: MessageStatus, code: int) -> dict[str, Any]:
    """`code` tells why, if the status is `failed`."""
    shown: dict[str, Any] = {
        "id": message.id,
        "status": status,
        "timestamp": str(int(time.time())),
        "recipient_id": message.recipient,
    }
    if status == "failed":
        shown["errors"] = [status_error(code, OUTSIDE_WINDOW if code == 131047 else None)]  # noqa: PLR2004 - Meta's code
    else:
        shown["conversation"] = {"id": f"conversation-{message.recipient}", "origin": {"type": "utility"}}
        shown["pricing"] = {"billable": True, "pricing_model": "PMP", "category": "utility"}
    if message.reference is not None:
        shown["biz_opaque_callback_data"] = message.reference
    return _envelope(message.number, statuses=[shown])


def batched(webhooks: list[dict[str, Any]]) -> dict[str, Any]:
    """All of them in one POST, as Meta does with up to 1 000 updates: one entry each."""
    return {**webhooks[0], "entry": [entry for webhook in webhooks for entry in webhook["entry"]]}


def _envelope(number: str, **value: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "573001112233", "phone_number_id": number}
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
    return {"object": "whatsapp_business_account", "entry": [{"id": "SANDBOX_WABA", "changes": [change]}]}

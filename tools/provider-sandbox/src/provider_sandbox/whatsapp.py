"""WhatsApp Business Cloud API (developers.facebook.com/documentation/business-messaging/whatsapp), as clients meet it.

200 means accepted, not delivered: what becomes of a message is told by status webhooks, which the sandbox sends by
itself where `webhook` is set, and on order otherwise.
"""

import json
import secrets
import time
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.accounts import Accounts
from provider_sandbox.effects import Effects
from provider_sandbox.exchange import Exchanges
from provider_sandbox.faults import Faults
from provider_sandbox.webhooks import NothingToTellError, Order, Seconds, Sender
from provider_sandbox.whatsapp_errors import error, ordered
from provider_sandbox.whatsapp_limits import Limits
from provider_sandbox.whatsapp_rules import (
    Template,
    Templates,
    body_parameters,
    digits,
    envelope_refusal,
    template_refusal,
    text_refusal,
    wa_id,
)
from provider_sandbox.whatsapp_webhooks import (
    OUTSIDE_WINDOW,
    Inbound,
    Message,
    MessageStatus,
    StatusUpdate,
    inbound_webhook,
    status_webhook,
)

WINDOW_SECONDS = 24 * 3600

_TEMPLATES = [
    *(Template(name="reservation_checkin_invitation", language=code, parameters=3) for code in ("es", "en", "de")),
    # The owner's account holds the English one under a name with a trailing underscore.
    Template(name="reservation_checkin_invitation_", language="en", parameters=3),
    *(Template(name="reservation_checkin_confirmation", language=code, parameters=5) for code in ("es", "en", "de")),
    *(Template(name="reservation_checkin_welcome", language=code, parameters=3) for code in ("es", "en", "de")),
    *(Template(name="reservation_welcome", language=code, parameters=4) for code in ("es", "en", "de")),
    *(Template(name="reservation_welcome_paid", language=code, parameters=3) for code in ("es", "en", "de")),
    *(Template(name="reservation_checkin_reminder", language=code, parameters=2) for code in ("es", "en", "de")),
    *(Template(name="reservation_pin", language=code, parameters=3) for code in ("es", "en", "de")),
]


class Hook(BaseModel):
    """Where status webhooks go by themselves, and which."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(pattern=r"^https?://")]
    secret: str
    statuses: list[Literal["sent", "delivered", "read"]] = ["sent", "delivered"]
    retry_delays: list[Seconds] = []
    """As in an order: seconds before each retry of a webhook that got no 200."""


class WhatsAppSettings(BaseModel):
    """What differs between accounts, or can be switched."""

    model_config = ConfigDict(extra="forbid")

    phone_number_ids: frozenset[str] = frozenset()
    """Known senders; empty: every one in digits."""
    templates: list[Template] = _TEMPLATES
    window_refusal: Literal["sync", "webhook"] = "sync"
    """Free text outside the 24 hours: 131047 in the answer, or accepted and then a `failed` status webhook."""
    refused_recipients: dict[str, int] = {}
    """wa_id → code, for instance 131026 for a number without WhatsApp."""
    rate_limits: bool = False
    messages_per_second: Annotated[int, Field(ge=1)] = 80
    webhook: Hook | None = None

    @model_validator(mode="after")
    def _hook_for_refusals(self) -> Self:
        if self.window_refusal == "webhook" and self.webhook is None:
            raise ValueError("window_refusal webhook needs webhook {url, secret}: the refusal would be lost")
        return self


class WhatsApp:
    """The phone_number_id in the path is the account; the bearer token is checked by `accounts`."""

    def __init__(self, effects: Effects, faults: Faults, sender: Sender) -> None:
        self._effects = effects
        self._sender = sender
        self.exchanges = Exchanges("whatsapp", faults, ordered)
        self.accounts = Accounts()
        self._messages: dict[str, Message] = {}
        self._by_reference: dict[str, Message] = {}
        self._windows: dict[tuple[str | None, str], float] = {}
        self.settings = WhatsAppSettings()

    @property
    def settings(self) -> WhatsAppSettings:
        return self._settings

    @settings.setter
    def settings(self, settings: WhatsAppSettings) -> None:
        self._settings = settings
        self._templates: Templates = {(known.name, known.language): known for known in settings.templates}
        self._limits = Limits()

    def routes(self) -> list[Route]:
        return [
            Route("/v{version:int}.0/{number}/messages", self.send, methods=["POST"]),
            Route("/{rest:path}", self.unknown_path, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]

    def configure(self, changes: dict[str, Any]) -> None:
        """Change some settings; raises pydantic's ValidationError."""
        self.settings = WhatsAppSettings.model_validate({**self.settings.model_dump(), **changes})

    def reset(self) -> None:
        """Settings, accounts and windows as at the start."""
        self.settings, self.accounts = WhatsAppSettings(), Accounts()
        self._windows.clear()

    def open_window(self, number: str | None, guest: str, age_seconds: float) -> None:
        """As if the guest had written so long ago, to this number or (None) to all."""
        self._windows[number, wa_id(guest)] = time.time() - age_seconds

    async def send(self, request: Request) -> Response:
        number = request.path_params["number"]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")

        def answer(content: bytes) -> Response:
            if scheme != "Bearer" or not self.accounts.allow(token):
                return error(190, "Cannot parse access token, or it has expired")
            known = self.settings.phone_number_ids
            if not number.isdigit() or (known and number not in known):
                return error(100, f"Unsupported post request. Object with ID '{number}' does not exist", subcode=33)
            try:
                body = json.loads(content)
            except ValueError:
                return error(100, "the body is not JSON")
            refused = self._refusal(number, body)
            return error(*refused) if refused is not None else self._accepted(number, body)

        return await self.exchanges.run(request, "send", number, answer)

    async def unknown_path(self, request: Request) -> Response:
        return error(2500, f"Unknown path components: /{request.path_params['rest']}")  # code from memory

    def webhook(self, event: dict[str, Any]) -> dict[str, Any]:
        """The webhook of an event; an inbound message opens its window. Raises NothingToTellError."""
        if "from" in event:
            inbound = Inbound.model_validate(event)
            self.open_window(inbound.phone_number_id, inbound.guest, 0)
            return inbound_webhook(inbound)
        update = StatusUpdate.model_validate(event)
        found = self._messages.get(update.message_id or "") or self._by_reference.get(update.reference or "")
        if found is None:
            raise NothingToTellError(f"no message {update.message_id or update.reference}")
        return status_webhook(found, update.status, update.code)

    def _refusal(self, number: str, body: Any) -> tuple[int, str | None] | None:
        refused = envelope_refusal(body)
        if refused is not None:
            return refused
        guest = wa_id(digits(body["to"]) or "")
        if body.get("type") == "template":
            refused = template_refusal(body.get("template"), self._templates)
        else:
            refused = text_refusal(body.get("text"))
            if refused is None and self.settings.window_refusal == "sync" and not self._is_open(number, guest):
                return 131047, OUTSIDE_WINDOW
        if refused is not None:
            return refused
        if guest in self.settings.refused_recipients:
            return self.settings.refused_recipients[guest], None
        if not self.settings.rate_limits:
            return None
        code = self._limits.refusal(number, guest, self.settings.messages_per_second, time.monotonic())
        return None if code is None else (code, None)

    def _is_open(self, number: str, guest: str) -> bool:
        opened = max(self._windows.get((number, guest), 0.0), self._windows.get((None, guest), 0.0))
        return time.time() - opened <= WINDOW_SECONDS

    def _accepted(self, number: str, body: dict[str, Any]) -> Response:
        to = digits(body["to"]) or ""
        guest, kind, reference = wa_id(to), body.get("type", "text"), body.get("biz_opaque_callback_data")
        message = Message(f"wamid.HBgM{secrets.token_hex(16).upper()}", number, guest, reference)
        self._messages[message.id] = message
        if reference is not None:
            self._by_reference[reference] = message
        failed = kind == "text" and not self._is_open(number, guest)
        if not failed:
            self._effects.made(
                "whatsapp", "send", number, recipient=to, reference=reference, id=message.id, wa_id=guest, type=kind,
                **_shown_content(kind, body),
            )  # fmt: skip
        self._tell(message, failed=failed)
        return JSONResponse(
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": body["to"], "wa_id": guest}],
                "messages": [{"id": message.id, "message_status": "accepted"}],
            }
        )

    def _tell(self, message: Message, *, failed: bool) -> None:
        hook = self.settings.webhook
        if hook is None:
            return
        statuses: list[MessageStatus] = ["failed"] if failed else [*hook.statuses]
        payloads = [status_webhook(message, status, 131047) for status in statuses]
        if payloads:
            order = Order(
                provider="whatsapp", url=hook.url, secret=hook.secret, events=payloads, retry_delays=hook.retry_delays
            )
            self._sender.send_later(order, payloads)


def _shown_content(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the guest gets: `content` as it was sent, and what a judge looks for in it."""
    template = body["template"] if kind == "template" else None
    return {
        "template": template["name"] if template else None,
        "language": template["language"]["code"] if template else None,
        "parameters": body_parameters(template) if template else None,
        "content": template or body["text"],
    }

"""Webhooks of providers: signed by them instead of a bearer token, answered once they are stored."""

import hmac
from collections.abc import Sequence
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
from starlette.responses import PlainTextResponse, Response

from llegada.messaging import outbox
from llegada.messaging.outbox import OutboxMessage
from reservation_api.conversations import store as conversations
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.problems import Invalid, NotFound, Unauthorized
from reservation_api.webhooks import bold
from reservation_api.webhooks.whatsapp import Notification, guest_message, messages, signed

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])
log = structlog.get_logger()
TheParts = Annotated[Parts, Depends(parts)]
_BOLD_OFF = "webhooks of Bold are not set up here (RESERVATION_API_BOLD_SECRETS)"
_OFF = "webhooks of WhatsApp are not set up here (RESERVATION_API_WHATSAPP_APP_SECRET, …_VERIFY_TOKEN)"


@router.get("/whatsapp")
async def shake_hands(
    part: TheParts,
    mode: Annotated[str, Query(alias="hub.mode")] = "",
    token: Annotated[str, Query(alias="hub.verify_token")] = "",
    challenge: Annotated[str, Query(alias="hub.challenge", max_length=200)] = "",
) -> Response:
    """Meta asks once whether this address is ours."""
    expected = part.whatsapp.verify_token
    if expected is None:
        raise NotFound(_OFF)
    if mode != "subscribe" or not hmac.compare_digest(token.encode(), expected.get_secret_value().encode()):
        raise Unauthorized("the verify token is not ours")
    return PlainTextResponse(challenge)


@router.post("/whatsapp")
async def receive(request: Request, part: TheParts) -> dict[str, bool]:
    """Status updates of messages, and what guests write. 200 after the commit; repetitions become the same events."""
    secret = part.whatsapp.app_secret
    if secret is None:
        raise NotFound(_OFF)
    content = await request.body()
    if not signed(secret.get_secret_value(), content, request.headers.get("x-hub-signature-256")):
        raise Unauthorized("the signature in X-Hub-Signature-256 is missing or wrong")
    try:
        notification = Notification.model_validate_json(content)
        news = messages(notification, part.whatsapp.numbers, request_id(request))
    except ValidationError as error:
        raise Invalid(f"this is no notification of WhatsApp: {error.error_count()} errors") from error
    if news.unknown:
        log.warning("unknown_sender", phone_number_ids=sorted(news.unknown))
    if news.statuses:
        await _publish(part, news.statuses)
    if news.written:
        async with part.resources.database.connection() as connection:
            written = await conversations.whose(connection, news.written)
            heard = [(event, guest_message(event, request_id(request))) for event in written]
            await conversations.keep(connection, heard)
    return {"success": True}


@router.post("/bold")
async def payment(request: Request, part: TheParts) -> dict[str, bool]:
    """What happened to a payment. 200 after the commit; repetitions become the same event."""
    settings = part.bold
    if not settings.secrets and settings.test_organization is None:
        raise NotFound(_BOLD_OFF)
    content = await request.body()
    signature = request.headers.get("x-bold-signature", "")
    organizations = bold.signers(settings.secrets, settings.test_organization, content, signature)
    if not organizations:
        raise Unauthorized("the signature in x-bold-signature is missing or wrong")
    try:
        told = bold.Notification.model_validate_json(content)
    except ValidationError as error:
        raise Invalid(f"this is no notification of Bold: {error.error_count()} errors") from error
    # Of those that share a merchant the payment worker knows whose reservation it is about.
    await _publish(part, [bold.message(told, organization, request_id(request)) for organization in organizations])
    return {"success": True}


async def _publish(part: Parts, events: Sequence[OutboxMessage]) -> None:
    """By one statement, which commits by itself: one round trip instead of three."""
    async with part.resources.database.connection() as connection:
        await outbox.add(connection, events)

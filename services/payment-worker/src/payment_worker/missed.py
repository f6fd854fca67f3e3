"""Payments whose webhook never came: Bold gives up after a day, webhooks lag, so open links are asked about.

Source: developers.bold.co/webhook (the fallback by reference).
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import ValidationError

from llegada.events.payment import PaymentWebhookReceived
from llegada.messaging import outbox
from llegada.messaging.envelope import Lane, first
from llegada.messaging.failures import Failure
from payment_worker.bold import Bold
from payment_worker.handlers import Payments
from payment_worker.store import OpenLink, Store

SERVICE = "payment-worker"
_MOST = 20
_FINAL = frozenset({"PAID", "CANCELLED", "EXPIRED"})
log = structlog.get_logger()


async def find_missed(payments: Payments, store: Store, bold: Bold, every: timedelta) -> int:
    """Ask about some open links; returns how many changes were found that no webhook had told."""
    found = 0
    for link in await store.to_ask_about(every, _MOST):
        try:
            found += await _ask(payments, store, bold, link)
        except Failure as failure:  # asked again after `every`
            log.warning("link_not_asked", link=link.link_id, reason=failure.reason, code=failure.code)
    return found


async def _ask(payments: Payments, store: Store, bold: Bold, link: OpenLink) -> int:
    status = await bold.link_status(link.organization_id, link.link_id)
    quiet = status in ("ACTIVE", "EXPIRED")
    told = [] if quiet else await bold.notifications(link.organization_id, link.reference)
    found = 0
    async with store.transaction() as tx:
        for notification in told:
            event = read(notification, link)
            said = None if event is None else await payments.settle(event, tx)
            if said is not None:
                envelope = first(
                    said,
                    source=SERVICE,
                    correlation_id=f"bold-{link.link_id}",
                    lane=Lane.INTERACTIVE,
                    traceparent=None,
                )
                await outbox.add(tx, [outbox.event_message(said, envelope)])
                found += 1
        if status == "PAID" and not await store.payment_known(tx, link):
            log.warning("paid_without_payment", link=link.link_id, notifications=len(told))  # asked again after `every`
        elif status in _FINAL:
            await store.close(tx, link)
    if found:
        log.warning("webhook_missed", link=link.link_id, found=found)
    return found


def read(notification: dict[str, Any], link: OpenLink) -> PaymentWebhookReceived | None:
    """A notification as the event that its webhook would have been; None for one of another shape."""
    data = notification.get("data") or {}
    try:
        return PaymentWebhookReceived.model_validate(
            {
                "organization_id": link.organization_id,
                "bold_event_id": notification.get("id"),
                "kind": notification.get("type"),
                "payment_id": data.get("payment_id"),
                "reference": link.reference,
                "total": (data.get("amount") or {}).get("total"),
                "method": data.get("payment_method"),
                "bold_code": data.get("bold_code"),
                "at": datetime.fromtimestamp(int(notification.get("time", 0)) / 1_000_000_000, UTC),
            }
        )
    except (ValidationError, AttributeError, TypeError, ValueError) as error:
        log.warning("notification_of_unknown_shape", link=link.link_id, error=type(error).__name__)
        return None

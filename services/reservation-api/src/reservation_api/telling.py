"""How the rooms tell the workers what a person did: in the person's transaction, and worked here without the queue."""

from collections.abc import Sequence

from fastapi import Request

from llegada.events.event import Event
from llegada.messaging import outbox
from llegada.messaging.envelope import Envelope, Lane, first
from llegada.messaging.transaction import Transaction
from reservation_api.edge import request_id
from reservation_api.parts import Parts

SERVICE = "reservation-api"


def envelope_of(request: Request, event: Event) -> Envelope:
    """Somebody waits for it: the interactive lane, under the request's correlation id and trace."""
    return first(
        event,
        source=SERVICE,
        correlation_id=request_id(request),
        lane=Lane.INTERACTIVE,
        traceparent=request.headers.get("traceparent"),
    )


async def tell(tx: Transaction, request: Request, part: Parts, events: Sequence[Event]) -> list[int]:
    """Write events into the caller's transaction; returns their outbox rows, for `work`."""
    return await tell_as(tx, part, [(event, envelope_of(request, event)) for event in events])


async def tell_as(tx: Transaction, part: Parts, events: Sequence[tuple[Event, Envelope]]) -> list[int]:
    """As `tell`, for who needs to know the messages' ids."""
    inline = part.resources.inline
    held = None if inline is None else inline.held_until()
    messages = [outbox.event_message(event, envelope) for event, envelope in events]
    return await outbox.add(tx, messages, [held] * len(messages))


async def work(part: Parts, ids: Sequence[int]) -> bool:
    """Without the queue, work what was told, after the commit; False where the queue does."""
    inline = part.resources.inline
    if inline is None or not ids:
        return False
    await inline.work(SERVICE, ids, part.resources.settings.request_budget_seconds)
    return True

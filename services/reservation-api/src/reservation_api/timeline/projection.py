"""Stores what the events of a booking say: steps, timeline, and the reservation's own fields. Generic over workers.

An event whose reservation does not exist here is kept in the timeline all the same: it may be another installation's,
and nobody else would see it.
"""

import json
from typing import Any

from llegada.events.event import Event
from llegada.messaging.delivery import current_envelope
from llegada.messaging.transaction import Transaction
from reservation_api.reservations.lifecycle import changes
from reservation_api.timeline import store
from reservation_api.timeline.steps import Step, advance, expect, processing_status

_PRIVATE = frozenset(
    {"organization_id", "reservation_id", "guest_name", "contact", "recipient", "text", "check_in_url"}
)


class Projection:
    """The API's subscriber to everything that happens."""

    async def project(self, event: Event, tx: Transaction) -> None:
        envelope = current_envelope()
        kind, _, number = event.subject.partition("/")
        if kind != "reservation":
            return
        reservation_id = int(number)
        known = await store.locked(tx, reservation_id, event.organization_id)
        if known is None:
            await store.keep(tx, reservation_id, envelope, event.organization_id, _summary(event))
            return
        steps = expect({name: Step.model_validate(step) for name, step in known.steps.items()}, event.expected_steps())
        report = event.report()
        if report is not None:
            steps = advance(steps, report)
        document = json.dumps({name: step.model_dump(mode="json", exclude_none=True) for name, step in steps.items()})
        changed = changes(event, known.payment_link_intent)
        await store.save(tx, reservation_id, envelope, _summary(event), document, processing_status(steps), changed)


def _summary(event: Event) -> str:
    """What the timeline shows: the event without what belongs to the guest alone."""
    fields: dict[str, Any] = event.model_dump(mode="json", exclude=set(_PRIVATE), exclude_none=True)
    return json.dumps({_camel(name): value for name, value in fields.items()})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

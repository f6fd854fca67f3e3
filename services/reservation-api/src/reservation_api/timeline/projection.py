"""Stores what the events of a booking say: steps, timeline, and the reservation's own fields. Generic over workers.

An event whose reservation does not exist here is kept in the timeline all the same: it may be another installation's,
and nobody else would see it.
"""

import json
from functools import cache
from typing import Any

from llegada.events.event import Event
from llegada.events.job import JobFailed
from llegada.events.person import UserEvent
from llegada.events.statement import StatementEvent, StatementMailRequested
from llegada.events.task import TaskEvent
from llegada.messaging.envelope import Envelope
from llegada.messaging.subscription import Batch
from llegada.messaging.transaction import Transaction
from reservation_api.conversations import store as conversations
from reservation_api.documents import store as documents
from reservation_api.operations.promises import Promises
from reservation_api.people import store as people
from reservation_api.reservations.lifecycle import changes, later
from reservation_api.sire import store as sire
from reservation_api.statements import store as statements
from reservation_api.tasks import store as tasks
from reservation_api.timeline import store
from reservation_api.timeline.steps import advance, expect

_BACK_OFFICE = (JobFailed, StatementEvent, TaskEvent, UserEvent)
_PRIVATE = {
    "file",
    "title",
    "person",
    "organization_id",
    "reservation_id",
    "guest_name",
    "contact",
    "recipient",
    "text",
    "check_in_url",
    "guests",
    "passcodes",
    "custom_message",
    "rows",
    "keys",
    "phone",
    "name",
}


class Projection:
    """The API's subscriber to everything that happens. `promises`: what its clockwork has judged so far."""

    def __init__(self, promises: Promises | None = None) -> None:
        self.promises = promises or Promises()

    async def project(self, batch: Batch[Event], tx: Transaction) -> list[StatementMailRequested | None]:
        """Take a batch in: each reservation is locked, changed and written once. A ready statement may leave."""
        entries = [
            store.NewEntry(store.Subject(d.event.organization_id, number), d.envelope, d.event, _summary(d.event))
            for d in batch
            if (number := _reservation(d.event)) is not None
        ]
        known = await store.locked(tx, {entry.subject for entry in entries})
        for entry in entries:
            if entry.subject in known:
                _take(known[entry.subject], entry.event)
        await store.save(tx, entries, known)
        await sire.take(tx, [d.event for d in batch], {subject: found.steps for subject, found in known.items()})
        mails = await _back_office([(d.envelope, d.event) for d in batch if isinstance(d.event, _BACK_OFFICE)], tx)
        await conversations.mark(tx, [d.event for d in batch])
        return [mails.get(id(d.event)) for d in batch]


async def _back_office(events: list[tuple[Envelope, Event]], tx: Transaction) -> dict[int, StatementMailRequested]:
    """Documents, statements, tasks and life cycles: nothing to do for most batches."""
    if not events:
        return {}
    failed = await documents.take(tx, events)
    alone = [event for _, event in events]
    mails = await statements.take(tx, alone, failed)
    await tasks.take(tx, alone)
    await people.take(tx, events)
    return mails


def _reservation(event: Event) -> int | None:
    kind, _, number = event.subject.partition("/")
    return int(number) if kind == "reservation" else None


def _take(known: store.Known, event: Event) -> None:
    known.steps = expect(known.steps, event.expected_steps())
    report = event.report()
    if report is not None:
        known.steps = advance(known.steps, report)
    change = changes(event, known.payment_link_intent, known.door_codes_intent)
    known.payment_link_intent = change.payment_link_intent or known.payment_link_intent
    known.door_codes_intent = change.door_codes_intent or known.door_codes_intent
    known.changes = later(known.changes, change)


def _summary(event: Event) -> str:
    """What the timeline shows: the event without what belongs to the guest alone."""
    fields: dict[str, Any] = event.model_dump(mode="json", exclude=_PRIVATE, exclude_none=True)
    return json.dumps({_camel(name): value for name, value in fields.items()})


@cache
def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)

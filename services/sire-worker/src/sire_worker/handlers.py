"""What the SIRE worker does: checks guests' documents, has their rows filed by one of two channels, records results.

The authority has no API. By default the API keeps the rows as a file for staff, who upload it and record what the
portal said; an organization that runs a gateway of its own has them sent there.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from llegada.events.job import JobFailed, JobSkipped
from llegada.events.organization import OrganizationConfigured
from llegada.events.reservation import ReservationCheckedIn, ReservationCheckedOut
from llegada.events.sire import (
    STEP_OF,
    FilingRow,
    Movement,
    SireFilingPrepared,
    SireOverdue,
    SireRefused,
    SireRegistered,
    SireRegistrationRequested,
    SireResultRecorded,
    SireSubmissionReady,
)
from llegada.events.types import Guest, OrganizationId, ReservationId
from llegada.messaging import outbox
from llegada.messaging.effects import Effect
from llegada.messaging.envelope import Envelope, Lane, first
from llegada.messaging.failures import Transient
from llegada.messaging.transaction import Transaction
from sire_worker.filing import Property, check
from sire_worker.gateway import Gateway
from sire_worker.store import Store
from sire_worker.submission import Submission

SERVICE = "sire-worker"

log = structlog.get_logger()
_ADVICE = "Correct the guests' documents at the reservation, and register them again."

Filed = SireFilingPrepared | SireSubmissionReady | SireRegistered | JobSkipped | JobFailed


class Registrations:
    def __init__(self, store: Store, gateway: Gateway) -> None:
        self._store = store
        self._gateway = gateway

    async def remember_organization(self, event: OrganizationConfigured, tx: Transaction) -> None:
        await self._store.configure(tx, event)

    async def file_entry(self, event: ReservationCheckedIn, tx: Transaction) -> Filed | None:
        if event.sire_intent is None:
            return None
        wish = _Wish(event.organization_id, event.reservation_id, "entry", event.sire_intent, event.type)
        return await self._file(wish, event.checked_in_on, event.guests, tx)

    async def file_exit(self, event: ReservationCheckedOut, tx: Transaction) -> Filed | None:
        if event.sire_intent is None:
            return None
        wish = _Wish(event.organization_id, event.reservation_id, "exit", event.sire_intent, event.type)
        return await self._file(wish, event.checked_out_on, event.guests, tx)

    async def file(self, event: SireRegistrationRequested, tx: Transaction) -> Filed | None:
        wish = _Wish(event.organization_id, event.reservation_id, event.movement, event.intent, event.type)
        return await self._file(wish, event.moved_on, event.guests, tx)

    def submit(self, event: SireSubmissionReady) -> Effect[SireRegistered]:
        return Submission(event, self._store, self._gateway)

    async def record(self, event: SireResultRecorded, tx: Transaction) -> SireRegistered | SireRefused | None:
        """What the portal said, as staff recorded it."""
        recorded = await self._store.record(tx, event)
        wish = _Wish(event.organization_id, event.reservation_id, event.movement, recorded.intent, event.type)
        if event.result != "accepted":
            return SireRefused.model_validate({**wish.known(), "result": event.result, "reason": event.reason})
        if not recorded.complete:
            return None
        reference = f"file {event.file_number}" if event.file_number else "looked up at the portal"
        return wish.registered(recorded.rows, reference)

    async def escalate(self) -> None:
        """Once for each movement whose deadline is over: the booking's timeline, and the log's alarm."""
        async with self._store.transaction() as tx:
            late = [SireOverdue.model_validate(filing) for filing in await self._store.escalate(tx)]
            await outbox.add(tx, [outbox.event_message(event, _told(event)) for event in late])
        for event in late:
            said = {"organization": event.organization_id, "reservation": event.reservation_id}
            log.error("sire_overdue", **said, movement=event.movement, due_at=event.due_at.isoformat())

    async def _file(self, wish: "_Wish", moved_on: date, guests: tuple[Guest, ...], tx: Transaction) -> Filed:
        known = await self._store.property(tx, wish.organization_id)
        if known is None:
            raise Transient("the organization's SIRE settings have not arrived yet", code="settings")
        at = Property(known.settings.hotel_code, known.settings.city_code)
        checked = check(guests, wish.movement, moved_on, at)
        local = datetime.combine(moved_on, time.max, ZoneInfo(known.time_zone))
        now = datetime.now(UTC)
        due_at = min(now, local) + timedelta(hours=known.settings.deadline_hours)
        key = wish.organization_id, wish.reservation_id, wish.movement, wish.intent
        due_at = await self._store.begin(tx, key, due_at, blocked=bool(checked.mistakes))
        if checked.mistakes:
            return wish.blocked(due_at, ". ".join(checked.mistakes))
        if not checked.rows:
            return wish.skipped("every guest is Colombian: only foreigners are reported")
        waiting = await self._store.file(tx, key, due_at, checked.rows)
        if not waiting:
            return wish.registered(len(checked.rows), "reported before")
        rows = [row for row in checked.rows if row.key in waiting]
        if known.settings.channel == "gateway":
            return wish.submission(moved_on, due_at, rows)
        return wish.prepared(moved_on, due_at, rows)


def _told(event: SireOverdue) -> Envelope:
    """The clock's own event: nobody's request caused it."""
    correlation_id = f"sire-overdue-{event.reservation_id}-{event.movement}"
    return first(event, source=SERVICE, correlation_id=correlation_id, lane=Lane.INTERACTIVE, traceparent=None)


class _Wish:
    """Whose movement is to be reported, and which event said so."""

    def __init__(
        self, organization: OrganizationId, reservation: ReservationId, movement: Movement, intent: int, cause: str
    ) -> None:
        self.organization_id = organization
        self.reservation_id = reservation
        self.movement: Movement = movement
        self.intent = intent
        self._cause = cause

    def known(self) -> dict[str, object]:
        return {
            "organization_id": self.organization_id,
            "reservation_id": self.reservation_id,
            "movement": self.movement,
            "intent": self.intent,
        }

    def prepared(self, moved_on: date, due_at: datetime, rows: list[FilingRow]) -> SireFilingPrepared:
        told = {"moved_on": moved_on, "guests": len(rows), "due_at": due_at, "rows": rows}
        return SireFilingPrepared.model_validate({**self.known(), **told})

    def submission(self, moved_on: date, due_at: datetime, rows: list[FilingRow]) -> SireSubmissionReady:
        told = {"moved_on": moved_on, "due_at": due_at, "rows": rows}
        return SireSubmissionReady.model_validate({**self.known(), **told})

    def registered(self, guests: int, reference: str) -> SireRegistered:
        told = {"channel": "file", "guests": guests, "reference": reference, "registered_at": datetime.now(UTC)}
        return SireRegistered.model_validate({**self.known(), **told})

    def blocked(self, due_at: datetime, reason: str) -> JobFailed:
        """Only staff can mend it: there is no dead letter, since the same documents never become right ones."""
        return JobFailed(
            **self._job(f"{reason}. Due by {due_at:%Y-%m-%d %H:%M} UTC"),
            attempt=1,
            attempts=1,
            error_class="permanent",
            advice=_ADVICE,
        )

    def skipped(self, reason: str) -> JobSkipped:
        return JobSkipped(**self._job(reason))

    def _job(self, reason: str) -> dict[str, Any]:
        return {
            "organization_id": self.organization_id,
            "reservation_id": self.reservation_id,
            "job": SERVICE,
            "step_name": STEP_OF[self.movement],
            "intent": self.intent,
            "cause_type": self._cause,
            "reason": reason,
        }

"""Guests' rows go to the organization's own gateway: an effect, filed once, and never again by itself in doubt.

Policy *human*: an authority that has a guest twice cannot be told otherwise by a program. After an attempt of which
nobody knows what it did only the archive is asked; where it does not say "accepted", a person looks at the portal.
"""

from datetime import UTC, datetime

from llegada.events.sire import SireRegistered, SireSubmissionReady
from llegada.messaging.effects import AskStaff, Attempt, EffectKey, Found, NotWanted
from llegada.messaging.failures import OutcomeUnknown, Permanent
from llegada.messaging.gate import Way
from sire_worker.gateway import Gateway
from sire_worker.store import Filing, Store

_LOOK = (
    "Look at the portal (Consultar extranjeros). If the guests are there, say so (POST …/sire/reported); "
    "if not, register them again (POST …/sire)."
)
_CORRECT = "Correct the guests' documents, and register them again."
_UNKNOWN = "nobody knows whether the gateway filed the guests"


class Submission:
    def __init__(self, event: SireSubmissionReady, store: Store, gateway: Gateway) -> None:
        self._event = event
        self._store = store
        self._gateway = gateway
        self._rows: list[Filing] = []

    def key(self) -> EffectKey:
        event = self._event
        return EffectKey(event.organization_id, f"sire-{event.movement}", event.subject, event.intent)

    def way(self) -> Way:
        return self._gateway.way(self._event.organization_id)

    async def still_wanted(self) -> NotWanted | None:
        event = self._event
        self._rows = await self._store.rows(event.organization_id, event.reservation_id, event.movement, event.intent)
        return None if self._rows else NotWanted("the guests were registered again meanwhile")

    async def look_up(self, _attempt: Attempt) -> Found | AskStaff:
        open_rows = self._open()
        if not open_rows:
            return Found(self._registered())
        await self._mark(open_rows, [("uncertain", _UNKNOWN)] * len(open_rows))
        return AskStaff(_UNKNOWN, _LOOK)

    async def perform(self, _attempt: Attempt) -> SireRegistered:
        event, rows = self._event, self._open()
        if not rows:
            return self._registered()
        reference = f"reservation-{event.reservation_id}-{event.movement}-{event.intent}"
        answer = await self._gateway.register(event.organization_id, reference, [row.line for row in rows])
        states = answer.states(len(rows))
        await self._mark(rows, states)
        if answer.result == "uncertain":
            raise OutcomeUnknown("the gateway does not know whether the portal took the guests", code="uncertain")
        refused = [
            f"guest {number}: {reason or 'refused'}"
            for number, (state, reason) in enumerate(states, start=1)
            if state == "rejected"
        ]
        if refused:
            raise Permanent(f"the authority refused {'; '.join(refused)}"[:900], code="rejected", advice=_CORRECT)
        return self._registered()

    def _open(self) -> list[Filing]:
        return [row for row in self._rows if row.state != "accepted"]

    async def _mark(self, rows: list[Filing], states: list[tuple[str, str | None]]) -> None:
        marks = [(row.key, state, reason) for row, (state, reason) in zip(rows, states, strict=True)]
        await self._store.mark(self._event.organization_id, marks)

    def _registered(self) -> SireRegistered:
        event = self._event
        return SireRegistered.model_validate(
            {
                "organization_id": event.organization_id,
                "reservation_id": event.reservation_id,
                "movement": event.movement,
                "intent": event.intent,
                "channel": "gateway",
                "guests": len(self._rows),
                "registered_at": datetime.now(UTC),
            }
        )

"""The registration of foreign guests with the authority for migration (SIRE), published by sire-worker."""

from datetime import date, datetime
from typing import ClassVar, Literal

from llegada.events.event import ReservationEvent, StepReport, StepState
from llegada.events.reservation import SIRE_ENTRY, SIRE_EXIT
from llegada.events.types import Guest, Intent

Movement = Literal["entry", "exit"]
STEP_OF: dict[Movement, str] = {"entry": SIRE_ENTRY, "exit": SIRE_EXIT}


class _MovementEvent(ReservationEvent):
    movement: Movement
    intent: Intent = 1

    @property
    def step(self) -> str | None:
        return STEP_OF[self.movement]


class SireRegistrationRequested(_MovementEvent):
    """Staff want one reservation's guests registered (again). Published by reservation-api."""

    type: ClassVar[str] = "sire.registration_requested"

    property_name: str
    moved_on: date
    guests: tuple[Guest, ...]

    def wanted(self) -> dict[str, int | None]:
        return {STEP_OF[self.movement]: self.intent}


class SireFilingPrepared(_MovementEvent):
    """The guests' rows wait in the file of `moved_on`, until staff have uploaded it to the portal."""

    type: ClassVar[str] = "sire.filing_prepared"

    moved_on: date
    guests: int
    due_at: datetime

    def report(self) -> StepReport | None:
        advice = f"Download the SIRE file of {self.moved_on}, upload it to the portal, and record the result."
        return StepReport(
            step=STEP_OF[self.movement],
            state=StepState.PROCESSING,
            intent=self.intent,
            job="sire-worker",
            reason=f"{self.guests} guest(s) wait in the file; due by {self.due_at:%Y-%m-%d %H:%M} UTC",
            advice=advice,
        )


class SireRegistered(_MovementEvent):
    """The authority has every foreigner of the booking for this movement."""

    type: ClassVar[str] = "sire.registered"

    channel: Literal["file", "gateway"]
    guests: int
    reference: str | None = None
    registered_at: datetime

    def report(self) -> StepReport | None:
        return StepReport(step=STEP_OF[self.movement], state=StepState.COMPLETED, intent=self.intent)

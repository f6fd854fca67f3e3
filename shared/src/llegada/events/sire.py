"""The registration of foreign guests with the authority for migration (SIRE), published by sire-worker."""

from datetime import date, datetime
from typing import ClassVar, Literal

from llegada.events.event import ReservationEvent, StepReport, StepState
from llegada.events.reservation import SIRE_ENTRY, SIRE_EXIT
from llegada.events.types import Guest, Intent, Value

Movement = Literal["entry", "exit"]
STEP_OF: dict[Movement, str] = {"entry": SIRE_ENTRY, "exit": SIRE_EXIT}
MOVEMENT_OF: dict[str | None, Movement] = {step: movement for movement, step in STEP_OF.items()}


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


class FilingRow(Value):
    """A guest's row of the official file. `key`: document, day and movement, once for ever. Never logged."""

    key: str
    line: str


def file_content(lines: list[str]) -> bytes:
    """The official file of some rows, as it is uploaded: ASCII, CRLF between the rows, none after the last."""
    return "\r\n".join(lines).encode("ascii")


class SireFilingPrepared(_MovementEvent):
    """The guests' rows wait in the file of `moved_on`, until staff have uploaded it to the portal."""

    type: ClassVar[str] = "sire.filing_prepared"

    moved_on: date
    guests: int
    due_at: datetime
    rows: tuple[FilingRow, ...] = ()

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


class SireSubmissionReady(_MovementEvent):
    """The guests' rows are in order and go to the organization's own gateway. Consumed by sire-worker itself."""

    type: ClassVar[str] = "sire.submission_ready"

    moved_on: date
    due_at: datetime
    rows: tuple[FilingRow, ...]

    def report(self) -> StepReport | None:
        return StepReport(
            step=STEP_OF[self.movement],
            state=StepState.PROCESSING,
            intent=self.intent,
            job="sire-worker",
            reason=f"{len(self.rows)} guest(s) go to the gateway; due by {self.due_at:%Y-%m-%d %H:%M} UTC",
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


class SireResultRecorded(_MovementEvent):
    """Staff recorded what the portal said about some rows of a file. Published by reservation-api.

    `file_number` 0 and no keys: about all rows of this movement, which somebody has looked up at the portal.
    """

    type: ClassVar[str] = "sire.result_recorded"

    file_number: int
    keys: tuple[str, ...]
    result: Literal["accepted", "rejected", "uncertain"]
    reason: str | None = None


class SireRefused(_MovementEvent):
    """The authority does not have the guests: rejected, or uncertain until somebody has looked."""

    type: ClassVar[str] = "sire.refused"

    result: Literal["rejected", "uncertain"]
    reason: str | None = None

    def report(self) -> StepReport | None:
        rejected = "Correct the guests' documents, and register them again."
        uncertain = "Look at the portal (Consultar extranjeros), and record the file's result."
        return StepReport(
            step=STEP_OF[self.movement],
            state=StepState.FAILED,
            intent=self.intent,
            job="sire-worker",
            reason=self.reason or f"the portal's answer: {self.result}",
            advice=rejected if self.result == "rejected" else uncertain,
        )


class SireOverdue(_MovementEvent):
    """The deadline is over, and the authority does not have the guests. Told once for each movement and deadline."""

    type: ClassVar[str] = "sire.overdue"

    due_at: datetime

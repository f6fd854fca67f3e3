"""What the back office does: writes documents, makes tasks by rules, accompanies employees. Nobody waits for it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid5

from backoffice_worker import lifecycles
from backoffice_worker.archive import Archive
from backoffice_worker.lifecycles import Lifecycle
from backoffice_worker.rendering import Typesetter
from backoffice_worker.store import Booking, Employee, News, Store
from backoffice_worker.task_rules import Cause, Subject, near, wanted
from backoffice_worker.writing import PersonDocument, StatementDocument
from llegada.events.job import JobFailed, JobSkipped
from llegada.events.organization import OrganizationConfigured
from llegada.events.payment import PaymentSettled, PaymentVoided
from llegada.events.person import (
    ContractChanged,
    DocumentReady,
    DocumentRequested,
    LifecycleChanged,
    LifecycleCreated,
    LifecycleStepRecorded,
    OffboardingStarted,
    UserCreated,
)
from llegada.events.reservation import (
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationCreated,
)
from llegada.events.sire import MOVEMENT_OF, Movement, SireFilingPrepared, SireRegistered, SireSubmissionReady
from llegada.events.statement import StatementReady, StatementRequested
from llegada.events.task import (
    Fact,
    TaskCreated,
    TaskFollowed,
    TaskRule,
    TaskRulesConfigured,
    TaskStatusChanged,
    Trigger,
)
from llegada.events.types import OrganizationId, ReservationId
from llegada.messaging.effects import Effect
from llegada.messaging.failures import Transient
from llegada.messaging.transaction import Transaction

_CERTIFICATES = UUID("5f0a0c53-52f4-5b8e-9d0b-5c7c8e2f9a11")
_REGISTRATION = "sire-worker"
"""Who says that a movement is reported of nobody; its jobs (`sire-worker.submit`) skip for other reasons."""
Entered = ReservationCreated | ReservationCheckedIn
Moved = ReservationCheckedOut | ReservationCancelled


class BackOffice:
    """`archive`: where documents are kept; None: they travel in their events."""

    def __init__(self, store: Store, typesetter: Typesetter, archive: Archive | None = None) -> None:
        self._store = store
        self._typesetter = typesetter
        self._archive = archive

    async def remember_organization(self, event: OrganizationConfigured, tx: Transaction) -> None:
        await self._store.configure(tx, event)

    async def remember_rules(self, event: TaskRulesConfigured, tx: Transaction) -> None:
        await self._store.set_rules(tx, event)

    def write_statement(self, event: StatementRequested) -> Effect[StatementReady]:
        return StatementDocument(event, self._typesetter, self._archive)

    def write_document(self, event: DocumentRequested) -> Effect[DocumentReady]:
        return PersonDocument(event, self._typesetter, self._archive)

    async def follow_booking(
        self,
        event: ReservationCreated
        | ReservationCheckedIn
        | ReservationCheckedOut
        | ReservationCancelled
        | PaymentSettled
        | PaymentVoided,
        tx: Transaction,
    ) -> list[TaskCreated | TaskFollowed]:
        """The tasks that this makes, and those of the same booking that it moves."""
        organization, number = event.organization_id, event.reservation_id
        news, fact = _news(event)
        booking = await self._store.note(tx, organization, number, news)
        made: list[TaskCreated] = []
        if isinstance(event, Entered | Moved):
            cause = Cause(trigger=_TRIGGERS[type(event)], key=f"{event.type}/{number}", at=_when(event))
            made = await self._make(tx, organization, cause, _about(number, booking))
        return [*made, *(await self._store.follow(tx, organization, event.subject, fact) if fact else [])]

    async def note_failure(self, event: JobFailed, tx: Transaction) -> list[TaskCreated]:
        """A job of a booking gave up: somebody looks. The same job for the same intent makes one task."""
        if event.reservation_id is None:
            return []
        booking = await self._store.booking(tx, event.organization_id, event.reservation_id)
        key = f"job.failed/{event.reservation_id}/{event.job}/{event.step_name}/{event.intent}"
        cause = Cause("job.failed", key, datetime.now(UTC), reason=event.reason)
        return await self._make(tx, event.organization_id, cause, _about(event.reservation_id, booking))

    async def note_filing(
        self, event: SireFilingPrepared | SireSubmissionReady | SireRegistered | JobSkipped, tx: Transaction
    ) -> list[TaskFollowed]:
        """A deadline begins, was met, or is nobody's: the guests turned out to be Colombian."""
        movement = _movement(event)
        if movement is None or event.reservation_id is None:
            return []
        key = event.organization_id, event.reservation_id, movement
        if isinstance(event, SireFilingPrepared | SireSubmissionReady):
            await self._store.set_deadline(tx, *key, event.due_at)
            return []
        await self._store.meet(tx, *key)
        return await self._store.follow(tx, event.organization_id, event.subject, "registered", movement)

    async def remind(self, tx: Transaction, now: datetime) -> list[TaskCreated]:
        """The tasks of deadlines that have come near; each rule makes its task of a deadline once."""
        made: list[TaskCreated] = []
        for deadline in await self._store.open_deadlines(tx):
            organization, number = deadline.organization_id, deadline.reservation_id
            rules = [
                rule
                for rule in near(await self._store.rules(tx, organization), deadline.due_at, now)
                if rule.key not in deadline.told
            ]
            if not rules:
                continue
            key = f"sire/{deadline.movement}/{number}/{deadline.due_at.isoformat()}"
            cause = Cause("sire.filing_prepared", key, now, deadline=deadline.due_at, scope=deadline.movement)
            about = _about(number, await self._store.booking(tx, organization, number))
            made += await self._make(tx, OrganizationId(organization), cause, about, rules)
            await self._store.tell(tx, deadline, [rule.key for rule in rules])
        return made

    async def begin(self, event: UserCreated, tx: Transaction) -> list[LifecycleCreated | TaskCreated]:
        """The life cycle with its tasks, once per person."""
        lifecycle = lifecycles.begin(event.not_required)
        if not await self._store.begin(tx, event, lifecycle):
            return []
        told = _told(event, lifecycle)
        created = LifecycleCreated.model_validate({**told, "what": "onboarding started", "by": "system"})
        cause = Cause("user.created", event.subject, event.created_at)
        rules = [
            rule
            for rule in await self._store.rules(tx, event.organization_id)
            if rule.step is None or rule.step not in event.not_required
        ]
        about = Subject(event.name, user_id=event.user_id)
        return [created, *await self._make(tx, event.organization_id, cause, about, rules)]

    async def change_contract(self, event: ContractChanged, tx: Transaction) -> list[LifecycleChanged | TaskCreated]:
        """The person's employment as it is now, and what a change of it asks for; nothing more of who is leaving."""
        known = await self._employee(tx, event.organization_id, event.user_id)
        if event.intent <= known.contract:
            return []
        await self._store.change_contract(tx, event, event.intent, event.employment)
        lifecycle = lifecycles.change_contract(known.lifecycle)
        if lifecycle is None:
            return []
        await self._store.move(tx, event.organization_id, event.user_id, lifecycle)
        what = f"contract changed from {event.effective_on}: {event.what}"
        changed = LifecycleChanged.model_validate({**_told(known.person, lifecycle), "what": what, "by": event.by})
        if lifecycle.status != "contract_change":
            return [changed]
        cause = Cause("user.contract_changed", f"{event.type}/{event.user_id}/{event.intent}", event.changed_at)
        about = Subject(known.person.name, user_id=event.user_id)
        return [changed, *await self._make(tx, event.organization_id, cause, about)]

    async def offboard(self, event: OffboardingStarted, tx: Transaction) -> list[LifecycleChanged | TaskCreated]:
        """The way out: what is still to be done before the person is archived."""
        known = await self._employee(tx, event.organization_id, event.user_id)
        lifecycle = lifecycles.offboard(known.lifecycle)
        if lifecycle is None:
            return []
        await self._store.move(tx, event.organization_id, event.user_id, lifecycle, event.exit_on)
        if event.employment is not None:
            await self._store.change_contract(tx, event, event.contract, event.employment)
        what = f"offboarding started, last day {event.exit_on}"
        changed = LifecycleChanged.model_validate({**_told(known.person, lifecycle), "what": what, "by": event.by})
        cause = Cause("user.offboarding_started", f"{event.type}/{event.user_id}", event.started_at)
        about = Subject(known.person.name, user_id=event.user_id)
        return [changed, *await self._make(tx, event.organization_id, cause, about)]

    async def record_step(
        self, event: LifecycleStepRecorded, tx: Transaction
    ) -> list[LifecycleChanged | TaskFollowed | DocumentRequested]:
        """A step as staff recorded it; its task is done with it."""
        known = await self._employee(tx, event.organization_id, event.user_id)
        lifecycle = lifecycles.record(known.lifecycle, event.step_name, event.status, event.number, event.provider)
        if lifecycle is None:
            return []
        changes = await self._move(tx, known, lifecycle, f"{event.step_name}: {event.status}", event.by)
        if event.status in ("pending", "failed"):
            return [*changes]
        follow = self._store.follow
        return [*changes, *await follow(tx, event.organization_id, event.subject, "recorded", event.step_name)]

    async def note_task(self, event: TaskStatusChanged, tx: Transaction) -> list[LifecycleChanged | DocumentRequested]:
        """A task of a life cycle was moved by hand: so is its step."""
        if event.user_id is None or event.step_name is None:
            return []
        known = await self._employee(tx, event.organization_id, event.user_id)
        step = known.lifecycle.steps.get(event.step_name)
        if step is None:
            return []
        status = lifecycles.step_status(event.step_name, step.status, event.status)
        lifecycle = lifecycles.record(known.lifecycle, event.step_name, status)
        if lifecycle is None:
            return []
        return await self._move(tx, known, lifecycle, f"{event.step_name}: {status}", event.by)

    async def _move(
        self, tx: Transaction, known: Employee, lifecycle: Lifecycle, what: str, by: str
    ) -> list[LifecycleChanged | DocumentRequested]:
        """Whoever is archived gets the certificate."""
        person = known.person
        await self._store.move(tx, person.organization_id, person.user_id, lifecycle)
        changed = LifecycleChanged.model_validate({**_told(person, lifecycle), "what": what, "by": by})
        if lifecycle.status != "archived":
            return [changed]
        house = await self._store.house(tx, person.organization_id)
        certificate = DocumentRequested(
            organization_id=person.organization_id,
            user_id=person.user_id,
            key=uuid5(_CERTIFICATES, f"{person.organization_id}|{person.user_id}"),
            kind="certificate",
            name=person.name,
            employer=house.name,
            language=person.language,
            employment=person.employment,
            exit_on=known.exit_on,
            issued_on=datetime.now(house.zone).date(),
        )
        return [changed, certificate]

    async def _employee(self, tx: Transaction, organization_id: int, user_id: int) -> Employee:
        known = await self._store.employee(tx, organization_id, user_id)
        if known is None:
            raise Transient(f"the life cycle of user {user_id} has not begun yet", code="lifecycle")
        return known

    async def _make(
        self,
        tx: Transaction,
        organization_id: OrganizationId,
        cause: Cause,
        about: Subject,
        rules: Sequence[TaskRule] | None = None,
    ) -> list[TaskCreated]:
        """The tasks that the rules want of this cause and have not made before."""
        known = await self._store.rules(tx, organization_id) if rules is None else rules
        made = []
        for task in wanted(organization_id, known, cause, about, await self._store.house(tx, organization_id)):
            number = about.reservation_id
            event = TaskCreated(
                organization_id=organization_id,
                key=task.key,
                rule=task.rule.key,
                cause=cause.key,
                reservation_id=None if number is None else ReservationId(number),
                user_id=about.user_id,
                step_name=task.rule.step,
                title=task.title,
                role=task.rule.role,
                person=task.rule.person,
                due_at=task.due_at,
                quality_control=task.rule.quality_control,
                status=task.status,
            )
            subject = f"user/{about.user_id}" if number is None else f"reservation/{number}"
            if await self._store.add_task(tx, event, subject, task.scope, task.follows):
                made.append(event)
        return made


_TRIGGERS: dict[type, Trigger] = {
    ReservationCreated: "reservation.created",
    ReservationCheckedIn: "reservation.checked_in",
    ReservationCheckedOut: "reservation.checked_out",
    ReservationCancelled: "reservation.cancelled",
}
_FACTS: dict[type, Fact] = {
    ReservationCheckedIn: "checked_in",
    ReservationCheckedOut: "checked_out",
    ReservationCancelled: "cancelled",
}


def _movement(event: SireFilingPrepared | SireSubmissionReady | SireRegistered | JobSkipped) -> Movement | None:
    """Of whose registration it speaks; None where a job was skipped that says nothing of one."""
    if not isinstance(event, JobSkipped):
        return event.movement
    return MOVEMENT_OF.get(event.step_name) if event.job == _REGISTRATION else None


def _news(event: Entered | Moved | PaymentSettled | PaymentVoided) -> tuple[News, Fact | None]:
    if isinstance(event, PaymentSettled | PaymentVoided):
        fact: Fact | None = "paid" if event.paid >= event.asked else None
        return News(asked=event.asked, paid=event.paid, payment_revision=event.revision), fact
    fact = _FACTS.get(type(event))
    facts = () if fact is None else (fact,)
    if not isinstance(event, Entered):
        return News(facts=facts), fact
    room = event.stay.room if isinstance(event, ReservationCheckedIn) else None
    about = News(event.guest_name, room, event.check_in_date, event.check_out_date, event.amount.amount, facts=facts)
    return about, fact


def _when(event: Entered | Moved) -> datetime:
    match event:
        case ReservationCheckedOut():
            return event.checked_out_at
        case ReservationCancelled():
            return event.cancelled_at
        case _:
            return datetime.now(UTC)


def _about(reservation_id: int, booking: Booking) -> Subject:
    days = {"checkIn": booking.check_in, "checkOut": booking.check_out}
    return Subject(
        booking.guest_name,
        reservation_id=reservation_id,
        facts=booking.facts,
        values={"room": booking.room, **{name: "" if day is None else day.isoformat() for name, day in days.items()}},
        check_in=booking.check_in,
        check_out=booking.check_out,
        unpaid=booking.unpaid,
    )


def _told(person: UserCreated, lifecycle: Lifecycle) -> dict[str, object]:
    return {
        "organization_id": person.organization_id,
        "user_id": person.user_id,
        "revision": lifecycle.revision,
        "status": lifecycle.status,
        "progress": lifecycle.progress,
        "steps": lifecycle.steps,
    }

"""/api/users: people, their life cycle from the first day to the last, and their documents."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from llegada.events.person import (
    ContractChanged,
    ContractStep,
    DocumentRequested,
    Employment,
    LifecycleStepRecorded,
    OffboardingStarted,
    OffboardingStep,
    OnboardingStep,
    UserCreated,
)
from llegada.messaging.transaction import Transaction, containing
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Page, PageSize
from reservation_api.documents import store as documents
from reservation_api.documents.download import ANSWERS, answer, find
from reservation_api.edge import request_id
from reservation_api.parts import Parts, parts
from reservation_api.people import store
from reservation_api.people.contract import holding
from reservation_api.people.schemas import ContractChange, Leaving, NewDocument, NewUser, StepResult
from reservation_api.people.show import PENDING, shown, shown_change, shown_document, shown_lifecycle
from reservation_api.problems import Conflict, Invalid, NotFound, NotSetUp
from reservation_api.reservations.store import audit
from reservation_api.telling import envelope_of, tell, tell_as, work

router = APIRouter(prefix="/api/users", tags=["people"])
Admin = Annotated[Staff, Depends(needs("admin"))]
TheParts = Annotated[Parts, Depends(parts)]


@router.post("", status_code=201)
async def create(request: Request, wanted: NewUser, staff: Admin, part: TheParts) -> dict[str, Any]:
    """At once; the life cycle with its tasks follows in the background. The same e-mail address again is 409."""
    person = wanted.person or wanted.email
    async with part.transaction(staff.organization) as tx:
        await _organization(tx, staff)
        taken = await store.taken(tx, staff.organization, wanted.email, person)
        if taken is not None:
            raise Conflict(f"{taken} belongs to somebody of the organization already")
        about = wanted.name, wanted.email, person, wanted.language
        row = await store.add(tx, staff.organization, about, wanted.employment(), staff.subject)
        event = UserCreated(
            organization_id=staff.organization,
            user_id=row["id"],
            name=wanted.name,
            email=wanted.email,
            person=person,
            language=wanted.language,
            employment=wanted.employment(),
            not_required=tuple(wanted.not_required),
            created_at=row["created_at"],
        )
        await _audit(request, tx, staff, "user.create", row["id"])
        ids = await tell(tx, request, part, [event])
    await work(part, ids)
    return body(request, shown(row), "done")


@router.get("")
async def users(
    request: Request,
    staff: Admin,
    part: TheParts,
    active: bool | None = None,  # noqa: FBT001 - a query parameter
    text: Annotated[str | None, Query(max_length=100)] = None,
    page: Page = 1,
    page_size: PageSize = 50,
) -> dict[str, Any]:
    """The organization's people, by their numbers."""
    async with part.transaction(staff.organization) as tx:
        rows, total = await store.page(tx, staff.organization, (active, containing(text)), (page, page_size))
    meta = {"total": total, "page": page, "pageSize": page_size}
    return body(request, [shown(row) for row in rows], "list", meta)


@router.get("/{user_id}")
async def user(request: Request, user_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    async with part.transaction(staff.organization) as tx:
        return body(request, shown(await _known(tx, staff, user_id)), "one")


@router.get("/{user_id}/lifecycle")
async def lifecycle(request: Request, user_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    """How far it is, and everything that changed; `pending` while the worker has not begun it."""
    async with part.transaction(staff.organization) as tx:
        await _known(tx, staff, user_id)
        found = await store.lifecycle(tx, staff.organization, user_id)
        history = await store.history(tx, staff.organization, user_id)
    return body(request, PENDING if found is None else shown_lifecycle(found, history), "one")


@router.put("/{user_id}/lifecycle/{step}")
async def record_step(
    request: Request,
    user_id: Id,
    step: OnboardingStep | ContractStep | OffboardingStep,
    wanted: StepResult,
    staff: Admin,
    part: TheParts,
) -> dict[str, Any]:
    """Record what became of a step; its task is done with it."""
    async with part.transaction(staff.organization) as tx:
        await _known(tx, staff, user_id)
        found = await store.lifecycle(tx, staff.organization, user_id)
        if found is not None and step not in found["steps"]:
            raise Conflict(f"the life cycle is in {found['status']} and has no step {step} yet")
        event = LifecycleStepRecorded(
            organization_id=staff.organization,
            user_id=user_id,
            step_name=step,
            status=wanted.status,
            number=wanted.number,
            provider=wanted.provider,
            by=staff.subject,
        )
        await _audit(request, tx, staff, f"user.step.{step}", user_id)
        ids = await tell(tx, request, part, [event])
    await work(part, ids)
    return body(request, {"userId": user_id, "step": step, "status": wanted.status}, "done")


@router.post("/{user_id}/contract-changes", status_code=201)
async def change_contract(
    request: Request, user_id: Id, wanted: ContractChange, staff: Admin, part: TheParts
) -> dict[str, Any]:
    """Change the contract; amendment and social security become tasks, and the life cycle is in `contract_change`
    until they are done. Contracts that are ordered from now on say it; certificates from `effectiveOn` on.
    """
    async with part.transaction(staff.organization) as tx:
        row = await _known(tx, staff, user_id, hold=True)
        if row["leaves_on"] is not None:
            raise Conflict(f"user {user_id} leaves on {row['leaves_on']}; the contract is not changed any more")
        before = Employment.model_validate(row["employment"])
        try:
            after = wanted.applied(before)
        except ValueError as error:
            raise Invalid(str(error)) from error
        about = wanted.effective_on, wanted.reason, staff.subject
        change = await store.change_contract(tx, staff.organization, user_id, (before, after), about)
        event = ContractChanged(
            organization_id=staff.organization,
            user_id=user_id,
            intent=change["number"],
            employment=after,
            effective_on=wanted.effective_on,
            what=", ".join(name for name, value in after if value != getattr(before, name)),
            by=staff.subject,
            changed_at=change["changed_at"],
        )
        await _audit(request, tx, staff, "user.contract", user_id)
        ids = await tell(tx, request, part, [event])
        row = await _known(tx, staff, user_id)
    await work(part, ids)
    return body(request, shown(row), "done")


@router.get("/{user_id}/contract-changes")
async def contract_changes(request: Request, user_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    """Newest first: what was before, what is after, from when, and who changed it."""
    async with part.transaction(staff.organization) as tx:
        await _known(tx, staff, user_id)
        rows = await store.contract_changes(tx, staff.organization, user_id)
    return body(request, [shown_change(row) for row in rows], "list")


@router.post("/{user_id}/offboarding")
async def offboard(request: Request, user_id: Id, wanted: Leaving, staff: Admin, part: TheParts) -> dict[str, Any]:
    """The person leaves: certificate, final settlement and sign-off become tasks."""
    async with part.transaction(staff.organization) as tx:
        row = await _known(tx, staff, user_id, hold=True)
        if row["leaves_on"] is not None:
            raise Conflict(f"user {user_id} leaves on {row['leaves_on']} already")
        await store.leave(tx, staff.organization, user_id, wanted.exit_on)
        changes = await store.contract_changes(tx, staff.organization, user_id)
        event = OffboardingStarted(
            organization_id=staff.organization,
            user_id=user_id,
            exit_on=wanted.exit_on,
            employment=holding(wanted.exit_on, row["employment"], changes),
            contract=changes[0]["number"] if changes else 0,
            reason=wanted.reason,
            by=staff.subject,
            started_at=datetime.now(UTC),
        )
        await _audit(request, tx, staff, "user.offboard", user_id)
        ids = await tell(tx, request, part, [event])
        row = await _known(tx, staff, user_id)
    await work(part, ids)
    return body(request, shown(row), "done")


@router.post("/{user_id}/documents", status_code=201)
async def order_document(
    request: Request, user_id: Id, wanted: NewDocument, staff: Admin, part: TheParts
) -> dict[str, Any]:
    """Order a certificate or a contract as PDF; each order is a document of its own, and the earlier ones stay. A
    certificate says what holds today, or held on the last day; a contract says its newest change.
    """
    key = uuid4()
    async with part.transaction(staff.organization) as tx:
        organization = await _organization(tx, staff)
        row = await _known(tx, staff, user_id)
        today = datetime.now(ZoneInfo(organization["time_zone"])).date()
        employment = row["employment"]
        if wanted.kind == "certificate":
            changes = await store.contract_changes(tx, staff.organization, user_id)
            employment = holding(min(today, row["leaves_on"] or today), employment, changes)
        event = DocumentRequested.model_validate(
            {
                "organization_id": staff.organization,
                "user_id": user_id,
                "key": key,
                "kind": wanted.kind,
                "name": row["name"],
                "employer": organization["name"],
                "language": wanted.language or row["language"],
                "employment": employment,
                "exit_on": row["leaves_on"],
                "issued_on": today,
            }
        )
        envelope = envelope_of(request, event)
        await documents.order(tx, staff.organization, event.subject, str(key), wanted.kind, envelope.id)
        await _audit(request, tx, staff, f"user.document.{wanted.kind}", user_id)
        ids = await tell_as(tx, part, [(event, envelope)])
    await work(part, ids)
    return body(request, {"key": str(key), "kind": wanted.kind}, "done")


@router.get("/{user_id}/documents")
async def documents_of(request: Request, user_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    """Newest first; with the reason of those that could not be made."""
    async with part.transaction(staff.organization) as tx:
        await _known(tx, staff, user_id)
        rows = await documents.of_subject(tx, staff.organization, f"user/{user_id}")
    return body(request, [shown_document(row) for row in rows], "list")


@router.get("/{user_id}/documents/{key}/pdf", response_class=Response, responses=ANSWERS)
async def document(request: Request, user_id: Id, key: str, staff: Admin, part: TheParts) -> Response:
    """The PDF, with `ETag` and `Repr-Digest`."""
    async with part.transaction(staff.organization) as tx:
        await _audit(request, tx, staff, "user.download", user_id)
        found = await find(tx, staff.organization, f"user/{user_id}", key)
    return await answer(request, part, found)


async def _known(tx: Transaction, staff: Staff, user_id: int, *, hold: bool = False) -> asyncpg.Record:
    row = await store.one(tx, staff.organization, user_id, hold=hold)
    if row is None:
        raise NotFound(f"there is no user {user_id}")
    return row


async def _organization(tx: Transaction, staff: Staff) -> asyncpg.Record:
    row = await store.organization(tx, staff.organization)
    if row is None:
        raise NotSetUp(f"organization {staff.organization} has no settings yet; an admin must send them first")
    return row


async def _audit(request: Request, tx: Transaction, staff: Staff, action: str, user_id: int) -> None:
    await audit(tx, staff.organization, staff.subject, action, f"user/{user_id}", request_id(request))

"""/api/statements: ordering, reading, sending and archiving monthly statements."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import APIRouter, Body, Depends, Query, Request
from starlette.responses import Response

from llegada.events.event import Event
from llegada.events.statement import StatementMailRequested
from llegada.messaging.transaction import Transaction
from reservation_api.access import Staff, needs
from reservation_api.answers import body
from reservation_api.bounds import Id, Number, Page, PageSize
from reservation_api.documents import store as documents
from reservation_api.documents.download import ANSWERS, answer, find
from reservation_api.edge import request_id
from reservation_api.organizations import store as organizations
from reservation_api.parts import Parts, parts
from reservation_api.problems import Conflict, Invalid, NotFound
from reservation_api.reservations.store import audit
from reservation_api.statements import store
from reservation_api.statements.order import Ordered, Person, hold, order, order_anew
from reservation_api.statements.periods import Period, of_month, over
from reservation_api.statements.schemas import NewStatus, Run, Sending
from reservation_api.statements.show import shown, shown_edition, shown_run
from reservation_api.telling import envelope_of, tell, tell_as, work

router = APIRouter(prefix="/api/statements", tags=["statements"])
Admin = Annotated[Staff, Depends(needs("admin"))]
Reader = Annotated[Staff, Depends(needs("staff", "admin"))]
TheParts = Annotated[Parts, Depends(parts)]
Status = Literal["requested", "failed", "generated", "sent", "archived"]
_WITH_STATEMENTS = """
select id from users where organization_id = $1 and case when $2::bigint is null
    then (billing ->> 'enabled')::boolean else id = $2 end order by id
"""
_NEXT: dict[str, frozenset[str]] = {
    "sent": frozenset({"generated"}),
    "archived": frozenset({"generated", "sent"}),
}
"""Status → those from which a person may set it."""


@router.get("")
async def statements(
    request: Request,
    staff: Reader,
    part: TheParts,
    status: Status | None = None,
    user_id: Annotated[Id | None, Query(alias="userId")] = None,
    month: Annotated[str | None, Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")] = None,
    page: Page = 1,
    page_size: PageSize = 50,
) -> dict[str, Any]:
    """Newest first. Staff see their own, admins everybody's."""
    wanted = status, user_id, None if month is None else _first(month), _only(staff)
    async with part.transaction(staff.organization) as tx:
        rows, total = await store.page(tx, staff.organization, wanted, page, page_size)
    return body(request, [shown(row) for row in rows], "list", _meta(total, page, page_size))


@router.get("/runs")
async def runs(
    request: Request, staff: Admin, part: TheParts, page: Page = 1, page_size: PageSize = 50
) -> dict[str, Any]:
    """What the clock and people ordered, and where there was nothing to bill; newest first."""
    async with part.transaction(staff.organization) as tx:
        rows, total = await store.runs(tx, staff.organization, page, page_size)
    return body(request, [shown_run(row) for row in rows], "list", _meta(total, page, page_size))


@router.post("/run")
async def run(
    request: Request, staff: Admin, part: TheParts, wanted: Annotated[Run, Body(default_factory=Run)]
) -> dict[str, Any]:
    """Order statements by hand: one's, or everybody's. Says for each person what became of it: `requested`,
    `nothing_to_bill` (no statement is made), or `exists`.
    """
    async with part.transaction(staff.organization) as tx:
        found = await tx.fetch(_WITH_STATEMENTS, staff.organization, wanted.user_id)
        if wanted.user_id is not None and not found:
            raise NotFound(f"there is no user {wanted.user_id}")
        today = await _today(tx, staff)
    results, ids = [], []
    for row in found:  # a transaction for each, so that they neither wait for each other nor fail together
        async with part.transaction(staff.organization) as tx:
            person = await _person(tx, staff, row["id"])
            period = _period(person, wanted, today)
            ordered = await order(tx, person, period, today, staff.subject, by_hand=True)
            ids += await _tell(request, tx, part, staff, ordered)
        number = None if ordered.event is None else ordered.event.number
        about = {"userId": person.id, "month": f"{period.month:%Y-%m}", "outcome": ordered.outcome}
        results.append({**about, "statementId": ordered.statement, "number": number})
    await work(part, ids)
    return body(request, results, "done" if ids else "saved")


@router.get("/{statement_id}")
async def statement(request: Request, statement_id: Id, staff: Reader, part: TheParts) -> dict[str, Any]:
    """One statement: what it says per client, and its editions."""
    async with part.transaction(staff.organization) as tx:
        row = await _seen(tx, staff, statement_id)
        editions = await store.editions(tx, staff.organization, statement_id)
    return body(request, {**shown(row, lines=True), "editions": [shown_edition(e) for e in editions]}, "one")


@router.get("/{statement_id}/pdf", response_class=Response, responses=ANSWERS)
async def pdf(
    request: Request,
    statement_id: Id,
    staff: Reader,
    part: TheParts,
    edition: Number | None = None,
) -> Response:
    """The PDF, with `ETag` and `Repr-Digest`; older editions by `edition`."""
    async with part.transaction(staff.organization) as tx:
        row = await _seen(tx, staff, statement_id)
        await _audit(request, tx, staff, "statement.download", statement_id)
        key = str(edition or row["edition"])
        found = await find(tx, staff.organization, f"statement/{statement_id}", key)
    return await answer(request, part, found)


@router.post("/{statement_id}/regenerate")
async def regenerate(request: Request, statement_id: Id, staff: Admin, part: TheParts) -> dict[str, Any]:
    """Make it anew under the same number, from today's settings and what was imported since. Old editions stay."""
    async with part.transaction(staff.organization) as tx:
        known = await _seen(tx, staff, statement_id)
        person = await _person(tx, staff, known["user_id"])
        held = await _held(tx, staff, statement_id)
        if held["status"] in ("requested", "archived"):
            raise Conflict(f"statement {held['number']} is {held['status']}; it can be made anew when it is neither")
        ordered = await order_anew(tx, person, held, await _today(tx, staff), staff.subject)
        ids = await _tell(request, tx, part, staff, ordered)
    await work(part, ids)
    return await statement(request, statement_id, staff, part)


@router.post("/{statement_id}/send")
async def send(
    request: Request,
    statement_id: Id,
    staff: Admin,
    part: TheParts,
    wanted: Annotated[Sending, Body(default_factory=Sending)],
) -> dict[str, Any]:
    """Send the newest edition by e-mail; the statement is `sent` once the mail server has taken it. Until then, or
    until `mailState` is `failed`, it is not sent again.
    """
    async with part.transaction(staff.organization) as tx:
        known = await _seen(tx, staff, statement_id)
        person = await _person(tx, staff, known["user_id"])  # locked first, as everywhere
        held = await _held(tx, staff, statement_id)
        if held["status"] not in ("generated", "sent"):
            raise Conflict(f"statement {held['number']} is {held['status']}; only a generated one can be sent")
        if held["mail_state"] == "waiting":
            raise Conflict(
                f"statement {held['number']} is on its way by e-mail; it can be sent again once that has left or failed"
            )
        recipient = wanted.recipient_email or person.billing.recipient_email
        if recipient is None:
            raise Invalid("recipientEmail: neither this request nor the person's settings name one")
        mail = {**store.NO_MAIL, "mail_state": "waiting", "mail_intent": held["mail_intent"] + 1}
        await store.change(tx, staff.organization, statement_id, **mail)
        event = await _mail(tx, staff, held, person, recipient)
        await _audit(request, tx, staff, "statement.send", statement_id)
        ids = await tell(tx, request, part, [event])
    await work(part, ids)
    now = await statement(request, statement_id, staff, part)
    return body(request, now["data"], "done")


@router.patch("/{statement_id}")
async def set_status(
    request: Request, statement_id: Id, wanted: NewStatus, staff: Admin, part: TheParts
) -> dict[str, Any]:
    """generated → sent → archived."""
    async with part.transaction(staff.organization) as tx:
        held = await _held(tx, staff, statement_id)
        if held["status"] not in _NEXT[wanted.status]:
            possible = ", ".join(sorted(_NEXT[wanted.status]))
            raise Conflict(f"statement {held['number']} is {held['status']}; {wanted.status} follows {possible}")
        sent = {"sent_at": datetime.now(UTC)} if wanted.status == "sent" else {}
        await store.change(tx, staff.organization, statement_id, status=wanted.status, **sent)
        await _audit(request, tx, staff, f"statement.{wanted.status}", statement_id)
    return await statement(request, statement_id, staff, part)


async def _seen(tx: Transaction, staff: Staff, statement_id: int) -> asyncpg.Record:
    """NotFound for somebody else's, as for one that does not exist."""
    row = await store.one(tx, staff.organization, statement_id)
    if row is None or _only(staff) not in (None, row["person"]):
        raise NotFound(f"there is no statement {statement_id}")
    return row


async def _held(tx: Transaction, staff: Staff, statement_id: int) -> asyncpg.Record:
    row = await store.hold(tx, staff.organization, statement_id)
    if row is None:
        raise NotFound(f"there is no statement {statement_id}")
    return row


async def _person(tx: Transaction, staff: Staff, user_id: int) -> Person:
    person = await hold(tx, staff.organization, user_id)
    if person is None:
        raise NotFound(f"there is no user {user_id}")
    return person


async def _today(tx: Transaction, staff: Staff) -> date:
    organization = organizations.needed(await organizations.one(tx, staff.organization), staff.organization)
    return datetime.now(ZoneInfo(organization.time_zone)).date()


async def _tell(request: Request, tx: Transaction, part: Parts, staff: Staff, ordered: Ordered) -> list[int]:
    if ordered.event is None or ordered.statement is None:
        return []
    event: Event = ordered.event
    envelope = envelope_of(request, event)
    key = str(ordered.event.edition)
    await documents.order(tx, staff.organization, event.subject, key, "statement", envelope.id)
    await _audit(request, tx, staff, "statement.order", ordered.statement)
    return await tell_as(tx, part, [(event, envelope)])


async def _mail(
    tx: Transaction, staff: Staff, held: asyncpg.Record, person: Person, recipient: str
) -> StatementMailRequested:
    found = await documents.one(tx, staff.organization, f"statement/{held['id']}", str(held["edition"]))
    assert found is not None  # a generated statement has its file
    return StatementMailRequested.model_validate(
        {
            "organization_id": staff.organization,
            "statement_id": held["id"],
            "edition": held["edition"],
            "number": held["number"],
            "intent": held["mail_intent"] + 1,
            "recipient": recipient,
            "language": held["language"],
            "consultant": held["consultant"],
            "issuer": person.issuer,
            "period_start": held["period_start"],
            "period_end": held["period_end"],
            "file": documents.file_of(found),
        }
    )


def _period(person: Person, wanted: Run, today: date) -> Period:
    day = person.billing.day
    period = over(today, day) if wanted.month is None else of_month(_first(wanted.month), day)
    if period.runs_on > today:
        raise Invalid(f"month: the period until {period.end} is not over yet")
    return period


def _first(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def _only(staff: Staff) -> str | None:
    """The person whose statements may be seen; None: everybody's."""
    return None if "admin" in staff.roles else staff.subject


def _meta(total: int, page: int, page_size: int) -> dict[str, int]:
    return {"total": total, "page": page, "pageSize": page_size}


async def _audit(request: Request, tx: Transaction, staff: Staff, action: str, number: int) -> None:
    await audit(tx, staff.organization, staff.subject, action, f"statement/{number}", request_id(request))

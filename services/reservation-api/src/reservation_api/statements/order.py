"""Ordering a person's statement: by the clock, by hand, or anew. One transaction, under the person's lock."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import asyncpg

from llegada.events.statement import StatementRequested
from llegada.messaging.transaction import Transaction
from reservation_api.statements import store
from reservation_api.statements.periods import Period
from reservation_api.statements.schemas import BillingSettings

Outcome = Literal["requested", "nothing_to_bill", "exists"]
_PERSON = """
select u.id, u.organization_id, u.number, u.name, u.billing, o.name as issuer
from users u join organizations o using (organization_id)
where u.organization_id = $1 and u.id = $2 for update of u
"""


@dataclass(frozen=True)
class Person:
    """Locked, so that one person's statements are ordered one after the other. `number`: counts the organization's."""

    id: int
    organization_id: int
    number: int
    name: str
    issuer: str
    billing: BillingSettings


@dataclass(frozen=True)
class Ordered:
    """`event`: to be told in the same transaction; None where there is nothing to write."""

    outcome: Outcome
    statement: int | None = None
    event: StatementRequested | None = None


async def hold(tx: Transaction, organization_id: int, user_id: int) -> Person | None:
    row = await tx.fetchrow(_PERSON, organization_id, user_id)
    return None if row is None else Person(**{**dict(row), "billing": BillingSettings.model_validate(row["billing"])})


async def order(tx: Transaction, person: Person, period: Period, today: date, actor: str, *, by_hand: bool) -> Ordered:
    """At most one statement per person and month. Work that was imported late is on the next one."""
    organization, month = person.organization_id, period.month
    if not await store.begin_run(tx, organization, person.id, month, again=by_hand):
        return Ordered("exists")
    work = await store.open_work(tx, organization, person.id, period.end)
    if not work:
        await store.end_run(tx, organization, person.id, month, "nothing_to_bill", None)
        return Ordered("nothing_to_bill")
    number = f"MR-{month:%Y%m}-{person.number:03}"
    statement = await store.add(tx, organization, person.id, number, period)
    await store.end_run(tx, organization, person.id, month, "requested", statement)
    event = await _edition(tx, person, statement, number, 1, period, work, today, actor)
    return Ordered("requested", statement, event)


async def order_anew(tx: Transaction, person: Person, held: asyncpg.Record, today: date, actor: str) -> Ordered:
    """The next edition under the same number: its own work and what was imported since, by today's settings."""
    period = Period(held["period_start"], held["period_end"])
    work = await store.open_work(tx, person.organization_id, person.id, period.end, held["id"])
    edition = held["edition"] + 1
    await store.change(tx, person.organization_id, held["id"], edition=edition, status="requested", **store.NO_MAIL)
    event = await _edition(tx, person, held["id"], held["number"], edition, period, work, today, actor)
    return Ordered("requested", held["id"], event)


async def _edition(
    tx: Transaction,
    person: Person,
    statement: int,
    number: str,
    edition: int,
    period: Period,
    work: list[asyncpg.Record],
    today: date,
    actor: str,
) -> StatementRequested:
    billing = person.billing
    recipient = billing.recipient or person.name
    terms = recipient, billing.language, billing.currency, billing.hourly_rate
    organization, rows = person.organization_id, [row["id"] for row in work]
    await store.add_edition(tx, organization, statement, edition, terms, rows, actor)
    return StatementRequested.model_validate(
        {
            "organization_id": person.organization_id,
            "statement_id": statement,
            "edition": edition,
            "number": number,
            "consultant": person.name,
            "issuer": person.issuer,
            "recipient": recipient,
            "language": billing.language,
            "period_start": period.start,
            "period_end": period.end,
            "issued_on": today,
            "currency": billing.currency,
            "hourly_rate": billing.hourly_rate,
            "entries": [_entry(row) for row in work],
        }
    )


def _entry(row: asyncpg.Record) -> dict[str, Any]:
    names = "client_id", "client_name", "minutes", "kind"
    return {**{name: row[name] for name in names}, "on": row["worked_on"]}

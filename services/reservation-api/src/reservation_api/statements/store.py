"""Work times, statements with their editions, and the runs that ordered them."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import asyncpg

from llegada.events.job import JobFailed
from llegada.events.statement import StatementMailed, StatementMailRequested, StatementReady
from llegada.messaging.transaction import Transaction
from reservation_api import pages
from reservation_api.documents.store import Failed
from reservation_api.statements.periods import Period
from reservation_api.statements.schemas import WorkTime

_IMPORT = """
with new as (
    select * from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::date[], $7::integer[], $8::text[])
        as n (external_id, user_id, client_id, client_name, worked_on, minutes, kind)
), stored as (
    insert into work_times as w (organization_id, external_id, user_id, client_id, client_name, worked_on, minutes,
                                 kind)
    select $1, n.* from new n order by n.external_id
    on conflict (organization_id, external_id) do update
    set user_id = excluded.user_id, client_id = excluded.client_id, client_name = excluded.client_name,
        worked_on = excluded.worked_on, minutes = excluded.minutes, kind = excluded.kind, imported_at = now()
    where w.statement_id is null
      and (w.user_id, w.client_id, w.client_name, w.worked_on, w.minutes, w.kind)
          is distinct from (excluded.user_id, excluded.client_id, excluded.client_name, excluded.worked_on,
                            excluded.minutes, excluded.kind)
    returning xmax = 0 as created
), renamed as (
    update work_times w set client_name = n.client_name, imported_at = now()
    from new n, statements s
    where w.organization_id = $1 and w.external_id = n.external_id
      and s.organization_id = $1 and s.id = w.statement_id and s.status = 'failed'
      and w.client_name <> n.client_name
      and (w.user_id, w.client_id, w.worked_on, w.minutes, w.kind)
          is not distinct from (n.user_id, n.client_id, n.worked_on, n.minutes, n.kind)
    returning w.external_id
)
select (select count(*) from stored where created) as created,
       (select count(*) from stored where not created) + (select count(*) from renamed) as updated,
       (select array_agg(n.external_id order by n.external_id)
        from new n join work_times w on w.organization_id = $1 and w.external_id = n.external_id
        where w.statement_id is not null and w.external_id not in (select external_id from renamed)
          and (w.user_id, w.client_id, w.client_name, w.worked_on, w.minutes, w.kind)
              is distinct from (n.user_id, n.client_id, n.client_name, n.worked_on, n.minutes, n.kind)) as billed
"""
_PEOPLE = "select id from users where organization_id = $1 and id = any($2::bigint[]) order by id for share"
_OPEN = """
select id, client_id, client_name, worked_on, minutes, kind from work_times
where organization_id = $1 and user_id = $2 and client_id is not null and worked_on <= $3
  and (statement_id is null or statement_id = $4)
order by worked_on, id for update
"""
_BEGIN_RUN = """
insert into statement_runs (organization_id, user_id, month) values ($1, $2, $3) on conflict do nothing returning true
"""
_RUN_AGAIN = """
insert into statement_runs as r (organization_id, user_id, month) values ($1, $2, $3)
on conflict (organization_id, user_id, month) do update set began_at = now() where r.outcome = 'nothing_to_bill'
returning true
"""
_END_RUN = """
update statement_runs set outcome = $4, statement_id = $5 where organization_id = $1 and user_id = $2 and month = $3
"""
_ADD = """
insert into statements (organization_id, user_id, month, number, period_start, period_end)
values ($1, $2, $3, $4, $5, $6) returning id
"""
_EDITION = """
insert into statement_editions (organization_id, statement_id, edition, recipient, language, currency, hourly_rate,
                                created_by)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_BILL = "update work_times set statement_id = $2 where organization_id = $1 and id = any($3::bigint[])"
_COLUMNS = """
s.id, s.number, s.user_id, u.name as consultant, u.person, s.month, s.period_start, s.period_end, s.edition, s.status,
s.sent_to, s.sent_at, s.created_at, s.mail_intent, s.mail_state, s.mail_reason, s.mail_advice, e.recipient, e.language,
e.currency, e.hourly_rate, e.lines, e.minutes, e.consultations, e.carried_minutes, e.amount, d.reason, d.advice,
d.sha256, d.pages
"""
_FROM = """
from statements s join users u on u.id = s.user_id
join statement_editions e on e.statement_id = s.id and e.edition = s.edition
left join documents d on d.organization_id = s.organization_id and d.subject = 'statement/' || s.id
                     and d.key = s.edition::text
"""
_LIST = f"""
select {_COLUMNS}, count(*) over () as total {_FROM}
where s.organization_id = $1 and ($2::text is null or s.status = $2) and ($3::bigint is null or s.user_id = $3)
  and ($4::date is null or s.month = $4) and ($5::text is null or u.person = $5)
order by s.month desc, s.number limit $6 offset $7
"""
_ONE = f"select {_COLUMNS} {_FROM} where s.organization_id = $1 and s.id = $2"
_HOLD = f"{_ONE} for update of s"
_EDITIONS = """
select e.edition, e.created_by, e.created_at, e.amount, e.minutes, e.currency, d.state, d.sha256, d.pages, d.reason
from statement_editions e
left join documents d on d.organization_id = e.organization_id and d.subject = 'statement/' || e.statement_id
                     and d.key = e.edition::text
where e.organization_id = $1 and e.statement_id = $2 order by e.edition desc
"""
_READY = """
with edition as (
    update statement_editions set lines = $4, minutes = $5, consultations = $6, carried_minutes = $7, amount = $8
    where organization_id = $1 and statement_id = $2 and edition = $3
)
update statements set status = 'generated'
where organization_id = $1 and id = $2 and edition = $3 and status in ('requested', 'failed') returning true
"""
_AUTO_SEND = """
update statements s set mail_intent = s.mail_intent + 1, mail_state = 'waiting'
from users u, statement_editions e, organizations o
where s.organization_id = $1 and s.id = $2 and u.id = s.user_id and o.organization_id = s.organization_id
  and e.statement_id = s.id and e.edition = s.edition
  and (u.billing ->> 'auto_send')::boolean and u.billing ->> 'recipient_email' is not null
returning s.mail_intent as intent, u.billing ->> 'recipient_email' as recipient, e.language, u.name as consultant,
          o.name as issuer, s.period_start, s.period_end
"""
_FAILED = """
update statements set status = 'failed'
where organization_id = $1 and id = $2 and edition = $3 and status = 'requested'
"""
NO_MAIL = {"mail_state": None, "mail_reason": None, "mail_advice": None}
_MAILED = """
update statements set status = case when status = 'generated' then 'sent' else status end, sent_to = $4,
                      sent_at = greatest(sent_at, $5),
                      mail_state = case when mail_intent = $6 then 'sent' else mail_state end,
                      mail_reason = case when mail_intent = $6 then null else mail_reason end,
                      mail_advice = case when mail_intent = $6 then null else mail_advice end
where organization_id = $1 and id = $2 and edition = $3
"""
_MAIL_FAILED = """
update statements set mail_state = 'failed', mail_reason = $5, mail_advice = $6
where organization_id = $1 and id = $2 and edition = $3 and mail_intent = $4 and mail_state <> 'sent'
"""
_RUNS = """
select r.user_id, u.name, r.month, r.outcome, r.statement_id, r.began_at, count(*) over () as total
from statement_runs r join users u on u.id = r.user_id
where r.organization_id = $1 order by r.began_at desc, r.user_id limit $2 offset $3
"""


async def strangers(tx: Transaction, organization_id: int, users: Sequence[int]) -> list[int]:
    """Those that are nobody of the organization; the others are locked, so that nobody's work is being billed now."""
    wanted = sorted(set(users))
    known = {row["id"] for row in await tx.fetch(_PEOPLE, organization_id, wanted)}
    return [user for user in wanted if user not in known]


async def take_in(tx: Transaction, organization_id: int, work: Sequence[WorkTime]) -> asyncpg.Record:
    """Store each once; what is on a statement already stays as it is, and is named if it was to be changed. Where that
    statement has failed, a client may get another name: its letters may be why.
    """
    row = await tx.fetchrow(
        _IMPORT,
        organization_id,
        [w.external_id for w in work],
        [w.user_id for w in work],
        [w.client_id for w in work],
        [w.client_name for w in work],
        [w.date for w in work],
        [w.minutes for w in work],
        [w.kind for w in work],
    )
    assert row is not None  # the statement always has one row
    return row


async def begin_run(tx: Transaction, organization_id: int, user_id: int, month: date, *, again: bool) -> bool:
    """False if it was done before. `again`: by hand, also after a run that found nothing."""
    return bool(await tx.fetchval(_RUN_AGAIN if again else _BEGIN_RUN, organization_id, user_id, month))


async def end_run(
    tx: Transaction, organization_id: int, user_id: int, month: date, outcome: str, statement: int | None
) -> None:
    await tx.execute(_END_RUN, organization_id, user_id, month, outcome, statement)


async def open_work(
    tx: Transaction, organization_id: int, user_id: int, until: date, statement: int | None = None
) -> list[asyncpg.Record]:
    """What is to be billed, locked: on no statement yet, or on this one."""
    return await tx.fetch(_OPEN, organization_id, user_id, until, statement)


async def add(tx: Transaction, organization_id: int, user_id: int, number: str, period: Period) -> int:
    days = period.start, period.end
    statement: int = await tx.fetchval(_ADD, organization_id, user_id, period.month, number, *days)
    return statement


async def add_edition(
    tx: Transaction,
    organization_id: int,
    statement: int,
    edition: int,
    billing: tuple[str, str, str, int | None],
    work: Sequence[int],
    actor: str,
) -> None:
    """`billing`: recipient, language, currency, hourly rate. The work is this statement's from now on."""
    await tx.execute(_EDITION, organization_id, statement, edition, *billing, actor)
    await tx.execute(_BILL, organization_id, statement, list(work))


async def page(
    tx: Transaction, organization_id: int, wanted: tuple[Any, ...], number: int, size: int
) -> tuple[list[asyncpg.Record], int]:
    """`wanted`: status, user, month, person; each may be None."""
    return await pages.page(tx, _LIST, organization_id, *wanted, number=number, size=size)


async def one(tx: Transaction, organization_id: int, statement: int) -> asyncpg.Record | None:
    return await tx.fetchrow(_ONE, organization_id, statement)


async def hold(tx: Transaction, organization_id: int, statement: int) -> asyncpg.Record | None:
    return await tx.fetchrow(_HOLD, organization_id, statement)


async def editions(tx: Transaction, organization_id: int, statement: int) -> list[asyncpg.Record]:
    return await tx.fetch(_EDITIONS, organization_id, statement)


async def change(tx: Transaction, organization_id: int, statement: int, **fields: Any) -> None:
    """Set columns; their names are ours."""
    sets = ", ".join(f"{name} = ${at}" for at, name in enumerate(fields, start=3))
    statement_sql = f"update statements set {sets} where organization_id = $1 and id = $2"
    await tx.execute(statement_sql, organization_id, statement, *fields.values())


async def runs(tx: Transaction, organization_id: int, number: int, size: int) -> tuple[list[asyncpg.Record], int]:
    return await pages.page(tx, _RUNS, organization_id, number=number, size=size)


async def take(
    tx: Transaction, events: Sequence[object], failed: Sequence[Failed]
) -> dict[int, StatementMailRequested]:
    """What became of statements, as the workers tell it; returns the e-mails that this causes, by `id` of the event."""
    mails: dict[int, StatementMailRequested] = {}
    for event in events:
        match event:
            case StatementReady():
                lines = json.dumps([line.model_dump(mode="json") for line in event.lines])
                key = event.organization_id, event.statement_id, event.edition
                counts = event.minutes, event.consultations, event.carried_minutes
                if await tx.fetchval(_READY, *key, lines, *counts, event.amount) and event.edition == 1:
                    mails |= await _auto_send(tx, event)
            case StatementMailed():
                key = event.organization_id, event.statement_id, event.edition
                await tx.execute(_MAILED, *key, event.recipient, event.sent_at, event.intent)
            case JobFailed() if event.cause_type == StatementMailRequested.type and event.cause_item is not None:
                mail = [int(number) for number in event.cause_item.split("/")]
                await tx.execute(_MAIL_FAILED, event.organization_id, *mail, event.reason, event.advice)
    for document in failed:
        kind, _, number = document.subject.partition("/")
        if kind == "statement":
            await tx.execute(_FAILED, document.organization_id, int(number), int(document.key))
    return mails


async def _auto_send(tx: Transaction, ready: StatementReady) -> dict[int, StatementMailRequested]:
    """Where the person's settings say so; once, because a statement becomes ready once."""
    row = await tx.fetchrow(_AUTO_SEND, ready.organization_id, ready.statement_id)
    if row is None:
        return {}
    known = ready.model_dump(include={"organization_id", "statement_id", "edition", "number", "file"})
    return {id(ready): StatementMailRequested.model_validate({**known, **dict(row)})}

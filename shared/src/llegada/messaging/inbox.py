"""One row per subscriber and message: copies of one message end once, as one thing.

A state change notes its messages as done first and works only what was new; an effect settles after its call. Settling
is an upsert that applies only where the message is not done yet. A success settles whatever passes were
noted before; a failure only settles a pass that is new. Where settling changes nothing, nothing else is written, and
the delivery is acked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any
from uuid import UUID

from llegada.messaging.effects import Closing
from llegada.messaging.envelope import Envelope
from llegada.messaging.outbox import ARRAYS, COLUMNS, OutboxMessage, columns
from llegada.messaging.transaction import Transaction

_OUT = f"""
    insert into outbox ({COLUMNS})
    select o.* from unnest({ARRAYS}) as o
    where exists (select from settled)
    returning id
"""

_SETTLED = """
    insert into inbox as i (subscriber, message_id, pass, attempt, outcome, failure_class, reason, next_try_at)
    select $10::text, $11::uuid, $12::integer, $13::integer, $14::text, $15::text, $16::text, $17::timestamptz
    {condition}
    on conflict (subscriber, message_id) do update
    set pass = excluded.pass, attempt = excluded.attempt, outcome = excluded.outcome,
        failure_class = excluded.failure_class, reason = excluded.reason, next_try_at = excluded.next_try_at,
        settled_at = now()
    where i.outcome not in ('done', 'skipped') and (excluded.outcome in ('done', 'skipped') or i.pass < excluded.pass)
    returning 1
"""

SETTLE = f"""
with settled as ({_SETTLED.format(condition="")}),
out as ({_OUT})
select exists (select from settled) as settled, true as held, array(select id from out) as ids
"""

SETTLE_DONE = """
insert into inbox as i (subscriber, message_id, pass, attempt, outcome)
select $1, m.message_id, m.pass, m.attempt, 'done'
from unnest($2::uuid[], $3::integer[], $4::integer[]) as m (message_id, pass, attempt) order by m.message_id
on conflict (subscriber, message_id) do update
set pass = excluded.pass, attempt = excluded.attempt, outcome = 'done',
    failure_class = null, reason = null, next_try_at = null, settled_at = now()
where i.outcome not in ('done', 'skipped')
returning message_id
"""

CLOSE_AND_SETTLE = f"""
with closed as (
    update effects
    set state = $23, outcome = $24, receipt = coalesce($25::jsonb, receipt), owner = null, lease_until = null,
        updated_at = now()
    where organization_id = $18 and kind = $19 and subject = $20 and intent = $21::integer and owner = $22
    returning 1
), settled as ({_SETTLED.format(condition="from closed")}),
out as ({_OUT})
select exists (select from settled) as settled, exists (select from closed) as held, array(select id from out) as ids
"""

KEPT_DAYS = 30
CLEAN = f"""
with recursive subscribers as (
    (select subscriber from inbox order by subscriber limit 1)
    union all
    select (select i.subscriber from inbox i where i.subscriber > s.subscriber order by i.subscriber limit 1)
    from subscribers s where s.subscriber is not null
), old as (
    select o.subscriber, o.message_id from subscribers s cross join lateral (
        select i.subscriber, i.message_id from inbox i
        where i.subscriber = s.subscriber and i.settled_at < now() - interval '{KEPT_DAYS} days'
          and i.outcome in ('done', 'skipped')
        order by i.settled_at limit 1000
    ) o limit 1000
)
delete from inbox i using old where i.subscriber = old.subscriber and i.message_id = old.message_id
"""
"""A thousand of those that no copy will ask for any more; what is dead stays, somebody may replay it. Each subscriber's
oldest are found by the index `inbox_recent`."""


@dataclass(frozen=True)
class Settlement:
    """What happened to one pass of one message at one subscriber, and what leaves because of it."""

    subscriber: str
    message_id: UUID
    pass_number: int
    attempt: int
    outcome: str
    messages: Sequence[OutboxMessage] = ()
    failure_class: str | None = None
    reason: str | None = None
    next_try_at: datetime | None = None
    closing: Closing | None = None


@dataclass(frozen=True)
class Settled:
    """`applied`: the settlement is written. `held`: the effect's lease was still ours. `ids`: new outbox rows."""

    applied: bool
    held: bool
    ids: list[int]


async def settle_done(tx: Transaction, subscriber: str, envelopes: Sequence[Envelope]) -> set[UUID]:
    """Note these messages as done, before their work in the same transaction; returns which of them were not yet.

    No two of them may share an id. Two processes that meet in a row wait for each other, always in the same order.
    """
    rows = await tx.fetch(
        SETTLE_DONE,
        subscriber,
        [e.id for e in envelopes],
        [e.pass_number for e in envelopes],
        [e.attempt for e in envelopes],
    )
    return {row["message_id"] for row in rows}


async def settle(tx: Transaction, what: Settlement, held_until: datetime | None = None) -> Settled:
    """Write a settlement in one statement: ledger, inbox and outbox, all of it or nothing.

    Outside a transaction it commits by itself. With a lease that is no longer ours nothing is written.
    """
    arguments: list[Any] = [
        *columns(what.messages, repeat(held_until)),
        what.subscriber,
        what.message_id,
        what.pass_number,
        what.attempt,
        what.outcome,
        what.failure_class,
        what.reason,
        what.next_try_at,
    ]
    statement = SETTLE
    if what.closing is not None:
        statement = CLOSE_AND_SETTLE
        arguments.extend(what.closing.arguments())
    row = await tx.fetchrow(statement, *arguments)
    assert row is not None  # the statement always has one row
    return Settled(applied=row["settled"], held=row["held"], ids=row["ids"])

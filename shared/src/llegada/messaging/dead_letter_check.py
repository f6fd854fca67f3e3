"""Whether every message that was settled as dead is somewhere: waiting in an outbox, or stored. A proof at rest."""

from collections.abc import Mapping
from dataclasses import dataclass

from llegada.messaging.topology import DEAD_LETTERS
from llegada.messaging.transaction import Transaction

_DEAD = """
select count(*) as dead,
       count(*) filter (where exists (
           select from {schema}.outbox o
           where o.message_id = i.message_id and o.exchange = '{exchange}'
       )) as waiting,
       count(*) filter (where exists (
           select from dead_letters d
           where d.message_id = i.message_id and d.subscriber = i.subscriber and d.pass = i.pass
       )) as stored,
       coalesce(array_agg(i.subscriber || ' ' || i.message_id) filter (where not exists (
           select from {schema}.outbox o
           where o.message_id = i.message_id and o.exchange = '{exchange}'
       ) and not exists (
           select from dead_letters d
           where d.message_id = i.message_id and d.subscriber = i.subscriber and d.pass = i.pass
       )), '{{}}') as missing
from {schema}.inbox i where i.outcome = 'dead'
"""


@dataclass(frozen=True)
class Check:
    """`missing`: subscriber and message id of those that are nowhere. While the broker still holds some, they count as
    missing: it is a statement about a system at rest.
    """

    dead: int
    waiting: int
    stored: int
    missing: list[str]


async def check(tx: Transaction, schemas: Mapping[str, str]) -> Check:
    """Over all services; `schemas`: service → its schema."""
    dead = waiting = stored = 0
    missing: list[str] = []
    for schema in schemas.values():
        row = await tx.fetchrow(_DEAD.format(schema=schema, exchange=DEAD_LETTERS))
        assert row is not None  # an aggregate always has one row
        dead, waiting, stored = dead + row["dead"], waiting + row["waiting"], stored + row["stored"]
        missing.extend(row["missing"])
    return Check(dead, waiting, stored, missing)

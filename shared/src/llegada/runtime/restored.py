"""`llegada restored`: what a database needs after a backup was restored, before the first process starts.

Two things in a dump belong to the past of another server. Numbers: what was made after the dump is gone here, and known
outside (a link, a message, a door code of reservation 17); a new booking must not get its number. Transaction ids: a
new server counts from the beginning, and what was stored under a later one would count as unfinished for years.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

GAP = 1_000_000
"""More numbers than an installation draws between two backups."""
_SEQUENCES = """
select schemaname, sequencename, coalesce(last_value, start_value) from pg_sequences where schemaname = any(%s)
"""
_TRANSACTIONS = """
select c.table_schema, c.table_name, c.column_name
from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
where c.udt_name = 'xid8' and t.table_type = 'BASE TABLE' and c.table_schema = any(%s)
"""


@dataclass(frozen=True)
class Mended:
    """How many sequences were moved on, and how many rows got a transaction id of this server."""

    sequences: int
    rows: int


def mend(url: str, schemas: Sequence[str], gap: int = GAP) -> Mended:
    """In one transaction; needs a login that owns the schemas. A second run only moves the numbers on once more."""
    rows = 0
    with psycopg.connect(url) as connection:
        sequences = connection.execute(_SEQUENCES, (list(schemas),)).fetchall()
        for schema, name, last in sequences:
            connection.execute("select setval(%s, %s)", (f"{schema}.{name}", last + gap))
        for schema, table, column in connection.execute(_TRANSACTIONS, (list(schemas),)).fetchall():
            statement = sql.SQL("update {} set {} = pg_current_xact_id()")
            changed = connection.execute(statement.format(sql.Identifier(schema, table), sql.Identifier(column)))
            rows += changed.rowcount
    return Mended(len(sequences), rows)

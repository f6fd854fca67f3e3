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
select n.nspname, c.relname, a.attname, c.relforcerowsecurity
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where a.atttypid = 'xid8'::regtype and a.attnum > 0 and c.relkind = 'r' and n.nspname = any(%s)
"""
_FORCED, _NOT_FORCED = (sql.SQL(f"alter table {{}} {word} row level security") for word in ("force", "no force"))


@dataclass(frozen=True)
class Mended:
    """How many sequences were moved on, and how many rows got a transaction id of this server."""

    sequences: int
    rows: int


def mend(url: str, schemas: Sequence[str], gap: int = GAP) -> Mended:
    """In one transaction; needs a login that owns the schemas. A second run only moves the numbers on once more.

    Forced row-level security holds for the owner too, and no policy knows it: its update would change no row, and say
    nothing. So it is not forced meanwhile. Nobody else gets in between: the table is locked until the end.
    """
    rows = 0
    with psycopg.connect(url) as connection:
        sequences = connection.execute(_SEQUENCES, (list(schemas),)).fetchall()
        for schema, name, last in sequences:
            connection.execute("select setval(%s, %s)", (f"{schema}.{name}", last + gap))
        for schema, name, column, forced in connection.execute(_TRANSACTIONS, (list(schemas),)).fetchall():
            table = sql.Identifier(schema, name)
            if forced:
                connection.execute(_NOT_FORCED.format(table))
            statement = sql.SQL("update {} set {} = pg_current_xact_id()")
            rows += connection.execute(statement.format(table, sql.Identifier(column))).rowcount
            if forced:
                connection.execute(_FORCED.format(table))
    return Mended(len(sequences), rows)

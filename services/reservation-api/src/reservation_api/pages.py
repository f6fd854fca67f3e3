"""One page of a list, and how long the whole list is."""

from typing import Any

import asyncpg

from llegada.messaging.transaction import Transaction


async def page(
    tx: Transaction, statement: str, *arguments: Any, number: int, size: int
) -> tuple[list[asyncpg.Record], int]:
    """The page's rows and the total. `statement` ends with limit and offset, and counts over all as `total`; behind the
    last page there is no row to carry it, and the first one of the list is asked.
    """
    rows = await tx.fetch(statement, *arguments, size, (number - 1) * size)
    first = rows or (await tx.fetch(statement, *arguments, 1, 0) if number > 1 else rows)
    return rows, first[0]["total"] if first else 0

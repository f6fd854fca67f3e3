"""A connection that a cancellation left in the middle of something is never handed out again."""

import asyncio

import psycopg
import pytest

from llegada.messaging.transaction import Database
from llegada.runtime.database import engine, own_role
from llegada.testing.eventually import eventually

from .conftest import SCHEMA, Worker

SLEEPING = "select from pg_stat_activity where query like '%pg_sleep(20)%' and pid <> pg_backend_pid()"


@pytest.mark.parametrize("where", ["at its beginning", "inside"])
async def test_what_is_said_after_a_cancelled_transaction_is_committed(
    worker: Worker, database_url: str, where: str
) -> None:
    single = engine(database_url, SCHEMA, role=own_role(SCHEMA), pool_size=1)
    database = Database(single, SCHEMA)

    async def sleep() -> None:
        async with database.transaction("select pg_sleep(20)" if where == "at its beginning" else None) as tx:
            await tx.execute("select pg_sleep(20)")

    task = asyncio.create_task(sleep())
    with psycopg.connect(database_url, autocommit=True) as owner:
        await eventually(lambda: owner.execute(SLEEPING).fetchone() is not None)
    task.cancel()
    await asyncio.wait([task])
    await database.fetchrow("insert into notes (reservation_id) values (17)")
    assert await worker.rows("select reservation_id from notes") == [{"reservation_id": 17}]
    await single.dispose()

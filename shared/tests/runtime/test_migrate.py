import asyncio

import asyncpg
import pytest

from llegada.messaging.transaction import Database
from llegada.runtime.cli import main
from llegada.runtime.database import engine
from llegada.runtime.migrate import SchemaBehind, wait
from llegada.testing.plugin import ServiceDatabase


async def test_a_schema_is_migrated_and_twice_is_harmless(service_database: ServiceDatabase) -> None:
    database = await service_database("payment_worker")
    await service_database("payment_worker")
    row = await database.fetchrow("select current_user::text as role, count(*) as n from outbox")
    assert row is not None
    assert (row["role"], row["n"]) == ("llegada_payment_worker", 0)


async def test_a_schema_that_was_never_migrated_is_waited_for_and_named(database_url: str) -> None:
    with pytest.raises(SchemaBehind, match=r"llegada migrate.*nowhere_worker"):
        wait(["nowhere_worker"], database_url, seconds=0)


async def test_an_older_schema_is_waited_for_and_a_newer_one_is_not(
    service_database: ServiceDatabase, database_url: str
) -> None:
    database = await service_database("payment_worker")
    wait(["payment_worker"], database_url, seconds=0)
    owner = await asyncpg.connect(database_url)
    was = await owner.fetch("select version_num from payment_worker.alembic_version")
    try:
        await owner.execute("delete from payment_worker.alembic_version where version_num like 'payment%'")
        with pytest.raises(SchemaBehind, match="payment_worker_0001"):
            wait(["payment_worker"], database_url, seconds=0)
        await owner.execute("insert into payment_worker.alembic_version values ('payment_worker_9999')")
        wait(["payment_worker"], database_url, seconds=0)
    finally:
        await owner.execute("delete from payment_worker.alembic_version")
        await owner.executemany(
            "insert into payment_worker.alembic_version values ($1)", [(row["version_num"],) for row in was]
        )
        await owner.close()
    assert database.schema == "payment_worker"


async def test_after_a_rollback_a_newer_schema_is_left_as_it_is_and_rights_are_given(
    service_database: ServiceDatabase,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The old release's Job once ended here, before the broker's rights and queues."""
    await service_database("payment_worker")
    monkeypatch.setenv("DATABASE_URL", database_url)
    owner = await asyncpg.connect(database_url)
    newest = "update payment_worker.alembic_version set version_num = $1 where version_num = $2"
    was = await owner.fetchval(
        "select version_num from payment_worker.alembic_version where version_num like 'payment%'"
    )
    try:
        await owner.execute(newest, "payment_worker_9999", was)
        await owner.execute("revoke all on payment_worker.outbox from llegada_payment_worker")
        assert await asyncio.to_thread(main, ["migrate", "payment-worker"]) == 0
        assert "payment-worker: schema is newer than this release" in capsys.readouterr().out
        may = "select has_table_privilege('llegada_payment_worker', 'payment_worker.outbox', 'insert')"
        assert await owner.fetchval(may) is True
    finally:
        await owner.execute(newest, was, "payment_worker_9999")
        await owner.close()


async def test_an_address_that_asks_for_tls_gets_it_or_nothing(database_url: str) -> None:
    """The server here has no TLS: with `require` both drivers refuse, for that reason and not for an unknown word."""
    separator = "&" if "?" in database_url else "?"
    made = engine(f"{database_url}{separator}sslmode=require", "payment_worker", role="none")
    with pytest.raises(ConnectionError, match="SSL"):
        await Database(made, "payment_worker").fetchrow("select 1")
    await made.dispose()

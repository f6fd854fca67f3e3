"""Synthetic reservations: one a minute whoever makes it, seen by nobody's staff, gone after a while."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
from prometheus_client import REGISTRY

from llegada.messaging.transaction import Database
from reservation_api.schedule.synthetic import MOST_OPEN, synthesize

ORGANIZATION = 9_000
URL = "https://desk.test"


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        statement = f"select count(*) from {table} where organization_id = $1"
        found: int = await connection.fetchval(statement, ORGANIZATION)
    return found


def age() -> float:
    found = REGISTRY.get_sample_value("llegada_synthetic_reservation_age_seconds", {"organization": str(ORGANIZATION)})
    assert found is not None
    return found


async def change(database: Database, statement: str) -> None:
    async with database.connection() as connection:
        await connection.execute(f"update reservations set {statement} where organization_id = {ORGANIZATION}")


async def test_replicas_at_the_same_instant_make_one_and_the_next_a_minute_later(database: Database) -> None:
    made = await asyncio.gather(*(synthesize(database, ORGANIZATION, URL) for _ in range(5)))
    assert sum(made) == 1
    assert await count(database, "reservations") == 1
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from outbox where type = 'reservation.created'") == 1
    assert await synthesize(database, ORGANIZATION, URL, datetime.now(UTC) + timedelta(minutes=1))
    assert await count(database, "reservations") == 2


async def test_its_age_grows_while_none_comes_through(database: Database) -> None:
    await synthesize(database, ORGANIZATION, URL)
    await change(database, "created_at = now() - interval '10 minutes', processing_status = 'completed'")
    await synthesize(database, ORGANIZATION, URL)
    assert age() >= 600
    await change(database, "processing_status = 'completed'")
    await synthesize(database, ORGANIZATION, URL)
    assert age() < 600


async def test_an_outage_leaves_a_few_behind_and_no_more(database: Database) -> None:
    for _ in range(MOST_OPEN + 5):
        await change(database, "created_at = created_at - interval '1 minute'")
        await synthesize(database, ORGANIZATION, URL)
    assert await count(database, "reservations") == MOST_OPEN


async def test_what_came_through_is_gone_after_an_hour_with_all_its_traces(database: Database) -> None:
    await synthesize(database, ORGANIZATION, URL)
    async with database.connection() as connection:
        await connection.execute(
            "insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary)"
            " select organization_id, id, gen_random_uuid(), 'x', 'x', now(), '{}' from reservations"
        )
    assert await count(database, "audit_log") == 1
    await change(database, "created_at = now() - interval '2 hours', processing_status = 'completed'")
    await synthesize(database, ORGANIZATION, URL)
    assert [await count(database, table) for table in ("reservations", "timeline", "audit_log")] == [1, 0, 1]


async def test_no_staff_sees_it(client: httpx.AsyncClient, database: Database) -> None:
    await synthesize(database, ORGANIZATION, URL)
    assert (await client.get("/api/reservations")).json()["meta"]["total"] == 0

"""After a backup was restored: numbers that the world knows are not given again, and the stream shows what was kept."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from llegada.messaging.transaction import Database
from llegada.runtime.restored import mend
from llegada.testing.eventually import eventually

Reservation = Callable[[], Awaitable[int]]
VISIBLE = "select count(*) from reservation_api.timeline where xid < pg_snapshot_xmin(pg_current_snapshot())"


@pytest.mark.usefixtures("client")
async def test_a_number_that_was_given_after_the_backup_is_not_given_again(
    database_url: str, reservation: Reservation
) -> None:
    last = await reservation()
    mended = mend(database_url, ["reservation_api"], 5_000)
    assert mended.sequences >= 4
    assert await reservation() > last + 5_000


async def test_entries_of_a_server_that_had_counted_further_are_visible_again(
    client: httpx.AsyncClient, database: Database, database_url: str, reservation: Reservation
) -> None:
    number = await reservation()
    async with database.connection() as connection:
        await connection.execute(
            "insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary, xid)"
            " select 1, $1, gen_random_uuid(), 'kept', 'tests', now(), '{}', '9000000000000'::xid8",
            number,
        )
        rows = await connection.fetchval("select count(*) from timeline")
        assert await connection.fetchval(VISIBLE) < rows
        assert mend(database_url, ["reservation_api"]).rows == rows

        async def all_visible() -> bool:  # once whoever else works on this server has ended what it had begun before
            return bool(await connection.fetchval(VISIBLE) == rows)

        await eventually(all_visible)
    shown = (await client.get(f"/api/reservations/{number}/timeline")).json()["data"]
    assert "kept" in [entry["type"] for entry in shown]

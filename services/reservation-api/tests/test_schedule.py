"""The evening's invitations: the right day in every zone, each once, whoever looks and however often."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest

from llegada.messaging.transaction import Database, Transaction
from llegada.testing.eventually import eventually
from reservation_api.organizations.schemas import InvitationSettings
from reservation_api.schedule.clock import invite_late_arrivals
from reservation_api.schedule.due import next_run, run_due

EVENING = datetime(2026, 12, 1, 1, 0, 5, tzinfo=UTC)
"""20:00:05 of 30 November in Bogotá."""
URL = "https://desk.test"


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("America/Bogota", datetime(2026, 12, 1, 0, 59, 59, tzinfo=UTC), None),
        ("America/Bogota", datetime(2026, 12, 1, 1, 0, 0, tzinfo=UTC), date(2026, 11, 30)),
        ("America/Bogota", datetime(2026, 12, 1, 3, 59, tzinfo=UTC), date(2026, 11, 30)),
        ("America/Bogota", datetime(2026, 12, 1, 4, 11, tzinfo=UTC), None),
        ("Europe/Madrid", datetime(2026, 7, 1, 18, 0, tzinfo=UTC), date(2026, 7, 1)),
        ("Europe/Madrid", datetime(2026, 12, 1, 18, 30, tzinfo=UTC), None),
        ("Europe/Madrid", datetime(2026, 12, 1, 19, 0, tzinfo=UTC), date(2026, 12, 1)),
        ("Pacific/Kiritimati", datetime(2026, 12, 1, 6, 0, tzinfo=UTC), date(2026, 12, 1)),
    ],
)
def test_a_run_is_due_at_the_local_hour(zone: str, now: datetime, day: date | None) -> None:
    assert run_due(now, ZoneInfo(zone), InvitationSettings()) == day


def test_a_run_before_midnight_is_caught_up_after_it() -> None:
    late = InvitationSettings(at=time(23, 30))
    assert run_due(datetime(2026, 12, 1, 6, 0, tzinfo=UTC), ZoneInfo("America/Bogota"), late) == date(2026, 11, 30)


def test_every_day_of_a_year_has_exactly_one_run_where_the_clock_changes() -> None:
    zone, settings = ZoneInfo("Europe/Madrid"), InvitationSettings(at=time(2, 30), catch_up_hours=0)
    days, now = [], datetime(2026, 1, 1, tzinfo=UTC)
    while now < datetime(2027, 1, 1, tzinfo=UTC):
        day = run_due(now, zone, settings)
        if day is not None and day not in days:
            days.append(day)
        now += timedelta(minutes=5)
    assert days == [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]


def test_the_next_run_is_the_next_local_evening() -> None:
    zone = ZoneInfo("America/Bogota")
    assert next_run(EVENING, zone, InvitationSettings()) == datetime(2026, 12, 2, 1, 0, tzinfo=UTC)
    assert next_run(EVENING, zone, InvitationSettings(enabled=False)) is None


async def arrive(client: httpx.AsyncClient, **changes: Any) -> int:
    body = {
        "guestName": "Ana",
        "contact": "+573001234567",
        "amount": 180000,
        "checkInDate": "2026-12-01",
        "checkOutDate": "2026-12-03",
        "arrivalTime": "23:15",
        **changes,
    }
    answer = await client.post("/api/reservations", json=body)
    assert answer.status_code == 201, answer.text
    number: int = answer.json()["data"]["id"]
    return number


async def ordered(database: Database) -> list[Any]:
    async with database.connection() as connection:
        return await connection.fetch("select * from outbox where type = 'reservation.invitation_due' order by id")


async def test_who_arrives_late_tomorrow_is_invited_and_nobody_else(
    client: httpx.AsyncClient, database: Database
) -> None:
    late = await arrive(client)
    await arrive(client, arrivalTime="18:00")
    await arrive(client, arrivalTime=None)
    await arrive(client, checkInDate="2026-12-02")
    cancelled = await arrive(client)
    await client.post(f"/api/reservations/{cancelled}/cancel")
    by_hand = await arrive(client)
    await client.post(f"/api/reservations/{by_hand}/invitation")
    await database.fetchrow("delete from outbox")
    assert await invite_late_arrivals(database, URL, EVENING) == 1
    (row,) = await ordered(database)
    assert json.loads(row["body"])["reservation_id"] == late
    assert (row["exchange"], row["properties"]["headers"]["lane"]) == ("llegada.events.bulk", "bulk")
    steps = (await client.get(f"/api/reservations/{late}")).json()["data"]["steps"]
    assert {step["step"]: step["state"] for step in steps}["invitation"] == "pending"
    shown = (await client.get("/api/admin/schedule")).json()["data"]
    assert (shown["runs"][0]["day"], shown["runs"][0]["invited"]) == ("2026-11-30", 1)
    assert shown["nextRunAt"]


async def test_any_number_of_schedulers_at_the_same_instant_invite_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    for _ in range(20):
        await arrive(client)
    done = await asyncio.gather(*(invite_late_arrivals(database, URL, EVENING) for _ in range(6)))
    assert sorted(done) == [0, 0, 0, 0, 0, 20]
    assert await invite_late_arrivals(database, URL, EVENING + timedelta(minutes=1)) == 0
    assert len(await ordered(database)) == 20
    (run,) = (await client.get("/api/admin/schedule")).json()["data"]["runs"]
    assert run["invited"] == 20, "who came too late has not written over what was done"


class Counting(Database):
    """Notes every statement that is sent."""

    statements = 0

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Transaction]:
        async with super().connection() as connection:
            connection.add_query_logger(self._note)
            try:
                yield connection
            finally:
                connection.remove_query_logger(self._note)

    def _note(self, _query: object) -> None:
        self.statements += 1


async def test_a_thousand_invitations_take_no_more_statements_than_one(
    client: httpx.AsyncClient, database: Database
) -> None:
    """So the scheduler is done at once (a fraction of a second), and nobody has to look at a clock to know."""
    number = await arrive(client)
    columns = (
        "organization_id, guest_name, guest_phone, amount, currency, check_out_date, arrival_time, language, steps,"
        " created_by"
    )
    await database.fetchrow(
        f"insert into reservations ({columns}, check_in_date, check_in_token) select {columns}, check_in_date + 1,"
        f" 't' || n from reservations, generate_series(1, 1000) n where id = {number}"
    )
    counts = []
    for evening, invited in ((EVENING, 1), (EVENING + timedelta(days=1), 1000)):
        counting = Counting(database.engine, database.schema)
        assert await invite_late_arrivals(counting, URL, evening) == invited
        counts.append(counting.statements)
    assert 0 < counts[1] <= counts[0], "the first run also pays for what the driver asks on a new connection"


async def test_one_poisoned_reservation_holds_up_no_other(client: httpx.AsyncClient, database: Database) -> None:
    poisoned, good = await arrive(client), await arrive(client)
    await database.fetchrow("update reservations set language = 'xx' where id = $1", poisoned)
    assert await invite_late_arrivals(database, URL, EVENING) == 1
    assert [json.loads(row["body"])["reservation_id"] for row in await ordered(database)] == [good]
    shown = (await client.get("/api/admin/schedule")).json()["data"]
    assert shown["runs"][0]["leftOut"] == 1


async def test_switched_off_nobody_is_invited(client: httpx.AsyncClient, database: Database) -> None:
    await arrive(client)
    off = {"name": "Hostal", "invitations": {"enabled": False}}
    assert (await client.put("/api/organizations/1/settings", json=off)).status_code == 200
    assert await invite_late_arrivals(database, URL, EVENING) == 0


async def scheduler(url: str, point: str = "nowhere") -> Process:
    """Another process, at 20:00:00 sharp of the organization."""
    script = str(Path(__file__).with_name("dying_scheduler.py"))
    now = EVENING.replace(second=0).isoformat()
    return await asyncio.create_subprocess_exec(sys.executable, script, url, now, point, stdin=PIPE, stdout=PIPE)


async def at_its_point(process: Process) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while (line := await process.stdout.readline()).strip() != b"there":
            assert line, "it ended before it was there"


async def invited_by(process: Process) -> int:
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    return int(said.split()[-1])


async def waits_for_a_lock(url: str) -> bool:
    def ask() -> bool:
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            ).fetchone()
        return bool(row and row[0])

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("point", ["claimed", "written", "committed"])
async def test_two_schedulers_and_a_kill_and_a_restart_at_the_hour_send_each_once(
    client: httpx.AsyncClient, database: Database, database_url: str, point: str
) -> None:
    numbers = [await arrive(client) for _ in range(5)]
    victim = await scheduler(database_url, point)
    await at_its_point(victim)
    beside = await scheduler(database_url)
    if point != "committed":
        await eventually(lambda: waits_for_a_lock(database_url), what="the other one waits for the day's row")
        assert await ordered(database) == [], "nothing leaves before the commit"
    victim.kill()
    await victim.communicate()
    restarted = await scheduler(database_url)
    done = [await invited_by(process) for process in (beside, restarted)]
    assert sorted(done) == ([0, 0] if point == "committed" else [0, 5])
    told = [json.loads(row["body"])["reservation_id"] for row in await ordered(database)]
    assert sorted(told) == numbers
    (run,) = (await client.get("/api/admin/schedule")).json()["data"]["runs"]
    assert (run["day"], run["invited"], run["leftOut"]) == ("2026-11-30", 5, 0)

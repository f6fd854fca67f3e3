"""What the operators' and the owner's numbers count, and what they do not."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import REGISTRY

from llegada.messaging.failures import OURS
from llegada.messaging.transaction import Database
from reservation_api.operations.business import measure
from reservation_api.operations.promises import Promises

Reservation = Callable[[], Awaitable[int]]
LATER = timedelta(minutes=10)


def counted() -> dict[str, float]:
    name = "llegada_booking_messages_total"
    return {o: REGISTRY.get_sample_value(name, {"outcome": o}) or 0 for o in ("in_time", "late", "excused")}


async def judged(promises: Promises, database: Database, now: datetime | None = None) -> dict[str, float]:
    """What one round adds."""
    before = counted()
    await promises.judge(database, now)
    return {outcome: count - before[outcome] for outcome, count in counted().items() if count > before[outcome]}


@pytest.fixture
async def promises(database: Database) -> Promises:
    """Of a process that started before the first booking."""
    started = Promises()
    await started.judge(database)
    return started


async def note(
    database: Database, number: int, event: str, after: float, error_class: str = "", reason: str = ""
) -> None:
    """A timeline entry of a booking, so many seconds after it was made."""
    async with database.connection() as connection:
        await connection.execute(
            "insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary)"
            " select 1, id, gen_random_uuid(), $2, 'tests', created_at + $3 * interval '1 second',"
            " jsonb_build_object('errorClass', $4::text, 'reason', $5::text) from reservations where id = $1",
            number,
            event,
            after,
            error_class,
            reason,
        )


@pytest.mark.usefixtures("client")
async def test_a_booking_is_judged_once_and_not_before_it_is_two_minutes_old(
    database: Database, reservation: Reservation, promises: Promises
) -> None:
    await note(database, await reservation(), "notification.sent", 3)
    assert await judged(promises, database) == {}
    later = datetime.now(UTC) + LATER
    assert await judged(promises, database, later) == {"in_time": 1}
    assert await judged(promises, database, later) == {}


@pytest.mark.usefixtures("client")
async def test_a_message_that_never_leaves_is_late_as_is_one_after_two_minutes(
    database: Database, reservation: Reservation, promises: Promises
) -> None:
    await reservation()
    await note(database, await reservation(), "notification.sent", 121)
    assert await judged(promises, database, datetime.now(UTC) + LATER) == {"late": 2}


@pytest.mark.usefixtures("client")
async def test_a_provider_that_is_down_excuses_and_a_bug_of_ours_does_not(
    database: Database, reservation: Reservation, promises: Promises
) -> None:
    await note(database, await reservation(), "job.retrying", 1, "provider_down", "bold does not answer")
    await note(
        database,
        await reservation(),
        "job.retrying",
        1,
        "transient",
        f"{OURS}made an error of its own (KeyError in a.b)",
    )
    await note(database, await reservation(), "job.failed", 1, "permanent", "no such template")
    assert await judged(promises, database, datetime.now(UTC) + LATER) == {"excused": 1, "late": 2}


def test_a_process_that_has_not_looked_alarms_nobody_about_a_deadline() -> None:
    program = "from prometheus_client import generate_latest\nimport reservation_api.service\nprint(generate_latest())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "llegada_sire_next_deadline_timestamp_seconds +Inf" in told


async def test_the_owner_sees_bookings_by_state_and_the_next_deadline_of_the_authority(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    await measure(database)
    assert REGISTRY.get_sample_value("llegada_sire_next_deadline_timestamp_seconds") == float("inf")
    number = await reservation()
    async with database.connection() as connection:
        await connection.execute(
            "update reservations set payment_status = 'paid', paid_amount = 5 where id = $1", number
        )
        await connection.execute(
            "insert into sire_rows (organization_id, key, reservation_id, movement, intent, moved_on, line, due_at)"
            " values (1, 'k', $1, 'entry', 1, '2026-12-01', '-', to_timestamp(1000))",
            number,
        )
    await measure(database)
    labels = {"status": "confirmed", "payment": "paid"}
    assert REGISTRY.get_sample_value("llegada_recent_reservations", labels) == 1
    assert REGISTRY.get_sample_value("llegada_recent_paid_pesos") == 5
    assert REGISTRY.get_sample_value("llegada_sire_rows", {"state": "waiting"}) == 1
    assert REGISTRY.get_sample_value("llegada_sire_next_deadline_timestamp_seconds") == 1000
    await measure(database, synthetic=1)
    assert REGISTRY.get_sample_value("llegada_recent_reservations", labels) is None

"""Limits over replicas, fairness, and the circuit breaker: on a real database."""

import asyncio
import time
from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest

from llegada.messaging.effects import Attempt, NotWanted
from llegada.messaging.envelope import Lane
from llegada.messaging.failures import OutcomeUnknown, Permanent, ProviderDown, SlotLater, TargetAway, Transient
from llegada.messaging.gate import BULK_SHARE, FAILURES, Gate, Limit, Way
from llegada.testing.eventually import eventually

from .conftest import SERVICE, Worker, created, enveloped

NAME = f"{SERVICE}.link"


def way(per_second: float, account: str = "1", burst: int = 1) -> Way:
    return Way("bold", account, [Limit(f"bold/{account}", per_second, burst)])


async def until_in(gate: Gate, to: Way, message_id: UUID, lane: Lane = Lane.INTERACTIVE) -> float:
    """As a delivery does it: come back until the slot is there; the time of the call."""
    while True:
        try:
            await gate.enter(NAME, message_id, to, lane)
        except SlotLater as later:
            await asyncio.sleep(min(later.retry_after.total_seconds(), 0.5))
        else:
            return time.monotonic()


async def wait(gate: Gate, to: Way, lane: Lane = Lane.INTERACTIVE) -> timedelta:
    """How long a new delivery is told to wait."""
    try:
        await gate.enter(NAME, uuid4(), to, lane)
    except SlotLater as later:
        return later.retry_after
    return timedelta()


async def test_three_replicas_together_never_exceed_the_limit(worker: Worker) -> None:
    gates, to = [Gate(SERVICE, worker.database) for _ in range(3)], way(0.5)
    entries = (gates[n % 3].enter(NAME, uuid4(), to, Lane.INTERACTIVE) for n in range(60))
    results = await asyncio.gather(*entries, return_exceptions=True)
    assert [r for r in results if not isinstance(r, SlotLater)] == [False]
    slots = sorted(row["at"] for row in await worker.rows("select at from slots"))
    assert len(slots) == 59
    assert min(later - at for at, later in pairwise(slots)) >= to.limits[0].gap


async def test_short_waits_are_slept(worker: Worker) -> None:
    gates, to, started = [Gate(SERVICE, worker.database) for _ in range(3)], way(50), time.monotonic()
    times = await asyncio.gather(*(until_in(gates[n % 3], to, uuid4()) for n in range(50)))
    assert max(times) - started > 0.95


async def test_a_burst_runs_ahead_and_then_pays_back(worker: Worker) -> None:
    gate, to = Gate(SERVICE, worker.database), way(0.1, burst=5)
    for _ in range(5):
        await gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE)
    waits = [await wait(gate, to) for _ in range(2)]
    assert waits[0] <= to.limits[0].gap < waits[1] <= 2 * to.limits[0].gap


async def test_a_delivery_keeps_its_slot_while_it_waits(worker: Worker) -> None:
    gate, to = Gate(SERVICE, worker.database), way(0.1)
    first, second = uuid4(), uuid4()
    await gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE)
    with pytest.raises(SlotLater) as caught:
        await gate.enter(NAME, first, to, Lane.INTERACTIVE)
    with pytest.raises(SlotLater) as later:
        await gate.enter(NAME, second, to, Lane.INTERACTIVE)
    with pytest.raises(SlotLater) as again:
        await gate.enter(NAME, first, to, Lane.INTERACTIVE)
    assert again.value.retry_after < caught.value.retry_after < later.value.retry_after
    assert len(await worker.rows("select * from slots")) == 2


async def test_five_thousand_waiting_messages_of_one_organization_do_not_delay_another(worker: Worker) -> None:
    gate = Gate(SERVICE, worker.database)
    await worker.database.fetchrow("insert into rate_limits (key, free_at) values ('bold/1', now() + interval '500 s')")
    await worker.database.fetchrow(
        "insert into slots (subscriber, message_id, key, at)"
        " select $1, gen_random_uuid(), 'bold/1', now() + n * interval '0.1 s' from generate_series(1, 5000) n",
        NAME,
    )
    with pytest.raises(SlotLater):
        await gate.enter(NAME, uuid4(), way(10, "1"), Lane.INTERACTIVE)
    async with asyncio.timeout(2):
        await gate.enter(NAME, uuid4(), way(10, "2"), Lane.INTERACTIVE)


async def test_bulk_work_leaves_a_share_to_interactive_work(worker: Worker) -> None:
    gate, to = Gate(SERVICE, worker.database), way(0.1)
    gap = to.limits[0].gap
    bulk = [await wait(gate, to, Lane.BULK) for _ in range(100)]
    assert bulk[0] == timedelta()
    assert bulk[-1] > 99 * gap / BULK_SHARE - gap
    assert [await wait(gate, to) // gap for _ in range(3)] == [0, 1, 2]


async def trip(gate: Gate, to: Way) -> None:
    for _ in range(FAILURES):
        await gate.failed(to)


async def test_an_open_breaker_is_open_for_every_replica_and_for_this_account_alone(worker: Worker) -> None:
    one, other = Gate(SERVICE, worker.database), Gate(SERVICE, worker.database)
    await trip(one, way(1000))
    with pytest.raises(ProviderDown) as caught:
        await other.enter(NAME, uuid4(), way(1000), Lane.INTERACTIVE)
    assert timedelta(seconds=25) < caught.value.retry_after <= timedelta(seconds=30)
    await other.enter(NAME, uuid4(), way(1000, "2"), Lane.INTERACTIVE)


async def test_one_probe_goes_through_and_its_success_closes_the_breaker(worker: Worker) -> None:
    gate, to = Gate(SERVICE, worker.database), way(1000)
    await trip(gate, to)
    await worker.database.fetchrow("update breakers set open_until = now()")
    results = await asyncio.gather(
        *(gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE) for _ in range(5)), return_exceptions=True
    )
    assert [r for r in results if not isinstance(r, ProviderDown)] == [True]
    await gate.worked(to)
    assert await gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE) is False


async def test_a_probe_that_fails_opens_it_for_twice_as_long(worker: Worker) -> None:
    gate, to = Gate(SERVICE, worker.database), way(1000)
    await trip(gate, to)
    await gate.failed(to)  # a call that was under way already
    await worker.database.fetchrow("update breakers set open_until = now()")
    await gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE)
    await gate.failed(to)
    with pytest.raises(ProviderDown) as caught:
        await gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE)
    assert timedelta(seconds=55) < caught.value.retry_after <= timedelta(seconds=60)


async def deliver(worker: Worker, number: int) -> None:
    event = created(number)
    await worker.link.deliver(enveloped(event), event.model_dump_json().encode())


async def test_a_provider_that_is_down_costs_no_attempts_once_the_breaker_is_open(worker: Worker) -> None:
    worker.probe.on_perform = [Transient("down"), OutcomeUnknown("slow")] * FAILURES
    for number in range(1, FAILURES + 1):
        await deliver(worker, number)
    await deliver(worker, 99)
    assert len(worker.probe.performed) == FAILURES
    (waiting,) = [row for row in await worker.inbox() if row["failure_class"] == "provider_down"]
    assert (waiting["outcome"], waiting["attempt"]) == ("waiting", 0)
    assert waiting["next_try_at"] is not None


async def test_what_the_provider_refuses_says_that_it_is_there(worker: Worker) -> None:
    worker.probe.on_perform = [Transient("down")] * (FAILURES - 1) + [Permanent("no"), Transient("down"), None]
    for number in range(1, FAILURES + 3):
        await deliver(worker, number)
    assert len(worker.probe.performed) == FAILURES + 2
    assert await worker.rows("select * from breakers where failures > 0") == []


async def test_a_lock_or_a_mailbox_that_cannot_says_nothing_about_the_account(worker: Worker) -> None:
    worker.probe.on_perform = [TargetAway("the gateway is offline")] * FAILURES + [None]
    for number in range(1, FAILURES + 2):
        await deliver(worker, number)
    assert len(worker.probe.performed) == FAILURES + 1
    assert await worker.rows("select * from breakers") == []
    waiting = [row for row in await worker.inbox() if row["failure_class"] == "target_away"]
    assert [(row["outcome"], row["attempt"]) for row in waiting] == [("waiting", 0)] * FAILURES


async def test_a_limited_delivery_parks_on_a_rung_without_using_an_attempt_and_staff_see_nothing(
    worker: Worker,
) -> None:
    worker.probe.limits = [Limit("bold/1", 0.1)]
    await deliver(worker, 1)
    await deliver(worker, 2)
    assert len(worker.probe.performed) == 1
    (parked,) = [row for row in await worker.outbox() if row["exchange"].startswith("llegada.retry")]
    assert parked["exchange"] == "llegada.retry.8s"
    assert parked["properties"]["headers"].get("attempt", 0) == 0
    assert "job.retrying" not in {row["type"] for row in await worker.outbox()}


async def test_effects_inside_their_calls_are_bounded(worker: Worker) -> None:
    worker.probe.gate = asyncio.Event()
    deliveries = [asyncio.create_task(deliver(worker, number)) for number in range(1, 9)]
    await eventually(lambda: len(worker.probe.performed) >= 5)
    _, waiting = await asyncio.wait(deliveries, timeout=0.3)  # time for a sixth, if nothing held it up
    inside: list[Attempt] = list(worker.probe.performed)
    worker.probe.gate.set()
    await asyncio.gather(*waiting)
    assert len(inside) == 5
    assert len(worker.probe.performed) == 8


async def test_a_probe_that_made_no_call_is_given_back(worker: Worker) -> None:
    gate, to = Gate(SERVICE, worker.database), Way("bold", "1")
    await trip(gate, to)
    await worker.database.fetchrow("update breakers set open_until = now()")
    worker.probe.not_wanted = NotWanted("the reservation was cancelled")
    await worker.link.deliver(enveloped(created()), created().model_dump_json().encode())
    assert worker.probe.performed == []
    assert await gate.enter(NAME, uuid4(), to, Lane.INTERACTIVE), "the next one may try"

"""Group commit: one transaction for what waits together, and a poisoned message alone."""

import asyncio
from collections.abc import Sequence

import pytest

from llegada.messaging.failures import Permanent
from llegada.messaging.group_commit import SIZE, GroupCommit

from .conftest import Worker, created, enveloped


class Recorder:
    """Notes the batches; refuses those that hold a poisoned item."""

    def __init__(self, poison: int | None = None) -> None:
        self.poison = poison
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def work(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        await self.gate.wait()
        if self.poison in batch:
            raise ValueError("poison")
        return [-item for item in batch]


async def test_what_arrives_while_one_is_worked_is_the_next_batch() -> None:
    recorder = Recorder()
    commit = GroupCommit(recorder.work)
    results = [asyncio.create_task(commit.submit(number)) for number in range(SIZE + 10)]
    await asyncio.sleep(0)
    recorder.gate.set()
    assert await asyncio.gather(*results) == [-number for number in range(SIZE + 10)]
    assert [len(batch) for batch in recorder.batches] == [SIZE, 10]


async def test_an_idle_batcher_waits_for_nobody() -> None:
    recorder = Recorder()
    recorder.gate.set()
    commit = GroupCommit(recorder.work)
    assert [await commit.submit(1), await commit.submit(2)] == [-1, -2]
    assert recorder.batches == [[1], [2]]


async def test_a_poisoned_item_fails_alone() -> None:
    recorder = Recorder(poison=3)
    recorder.gate.set()
    commit = GroupCommit(recorder.work)
    results = await asyncio.gather(*(commit.submit(number) for number in range(5)), return_exceptions=True)
    assert [r for r in results if not isinstance(r, ValueError)] == [0, -1, -2, -4]
    assert isinstance(results[3], ValueError)


async def test_a_caller_that_is_cancelled_takes_nobody_with_it() -> None:
    recorder = Recorder()
    commit = GroupCommit(recorder.work)
    gone, stays = (asyncio.create_task(commit.submit(number)) for number in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    recorder.gate.set()
    assert await stays == -2
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_deliveries_that_wait_together_share_a_transaction(worker: Worker) -> None:
    events = [created(number) for number in range(1, 31)]
    envelopes = [enveloped(event) for event in events]
    deliveries = [worker.note.deliver(m, e.model_dump_json().encode()) for m, e in zip(envelopes, events, strict=True)]
    await asyncio.gather(*deliveries)
    transactions = await worker.rows("select distinct xmin::text from notes")
    assert len(worker.probe.seen) == 30
    assert len(transactions) == 1


async def test_a_poisoned_message_leaves_its_neighbours_done_and_becomes_a_dead_letter(worker: Worker) -> None:
    def refuse(event: object) -> None:
        if getattr(event, "reservation_id", None) == 3:
            raise Permanent("nobody can be reached")

    worker.probe.on_note = refuse
    events = [created(number) for number in range(1, 6)]
    await asyncio.gather(*(worker.note.deliver(enveloped(e), e.model_dump_json().encode()) for e in events))
    noted = sorted(row["reservation_id"] for row in await worker.rows("select * from notes"))
    assert noted == [1, 2, 4, 5]
    assert sorted(row["outcome"] for row in await worker.inbox()) == ["dead", "done", "done", "done", "done"]
    assert sorted(row["exchange"] for row in await worker.outbox()) == ["llegada.dead-letters", "llegada.events"]


async def test_copies_inside_one_batch_count_once(worker: Worker) -> None:
    event, other = created(1), created(2)
    once, second = enveloped(event), enveloped(other)
    body, other_body = event.model_dump_json().encode(), other.model_dump_json().encode()
    await asyncio.gather(
        worker.note.deliver(once, body), worker.note.deliver(second, other_body), worker.note.deliver(once, body)
    )
    assert sorted(worker.probe.seen) == [1, 2]


async def test_two_processes_with_the_same_messages_do_the_work_once(worker: Worker) -> None:
    events = [created(number) for number in range(1, 21)]
    envelopes = [enveloped(event) for event in events]
    pairs = list(zip(envelopes, events, strict=True))
    twin = Worker(worker.database, "", "", worker._stack)  # a second process on the same database
    await asyncio.gather(
        *(worker.note.deliver(m, e.model_dump_json().encode()) for m, e in pairs),
        *(twin.note.deliver(m, e.model_dump_json().encode()) for m, e in reversed(pairs)),
    )
    noted = sorted(row["reservation_id"] for row in await worker.rows("select * from notes"))
    assert noted == list(range(1, 21))

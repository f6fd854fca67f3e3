"""The path of one delivery on a real database; the broker is not needed to prove what is committed."""

import asyncio
import json
from datetime import timedelta

import pytest

from llegada.messaging.clean_up import clean_up
from llegada.messaging.effects import AskStaff, Found, NotWanted
from llegada.messaging.envelope import Envelope, derived_id
from llegada.messaging.failures import (
    Credentials,
    OutcomeUnknown,
    Permanent,
    ProviderDown,
    RateLimited,
    Transient,
)

from .conftest import Worker, created, enveloped


async def deliver(worker: Worker, envelope: Envelope, reservation_id: int = 1, intent: int = 1) -> list[int]:
    return await worker.link.deliver(envelope, created(reservation_id, intent).model_dump_json().encode())


async def test_a_state_handlers_rows_inbox_and_outbox_are_one_transaction(worker: Worker) -> None:
    def explode(_: object) -> None:
        raise RuntimeError("boom")

    event = created()
    worker.probe.on_note = explode
    await worker.note.deliver(enveloped(event), event.model_dump_json().encode())
    assert await worker.rows("select * from notes") == []
    assert [row["type"] for row in await worker.outbox()] == ["reservation.created", "job.retrying"]


async def test_a_copy_of_a_message_changes_nothing(worker: Worker) -> None:
    event = created()
    envelope = enveloped(event)
    copies = [worker.note.deliver(envelope, event.model_dump_json().encode()) for _ in range(5)]
    await asyncio.gather(*copies)
    assert len(await worker.rows("select * from notes")) == 1


async def test_an_effect_is_performed_once_for_copies_that_arrive_together(worker: Worker) -> None:
    worker.probe.gate = asyncio.Event()
    envelope = enveloped(created())
    first = asyncio.create_task(deliver(worker, envelope))
    await worker.probe.entered.wait()
    await deliver(worker, envelope)
    assert [row["outcome"] for row in await worker.inbox()] == ["waiting"]
    worker.probe.gate.set()
    await first
    await deliver(worker, envelope.again(counts=False))
    assert len(worker.probe.performed) == 1
    assert [row["outcome"] for row in await worker.inbox()] == ["done"]
    assert [row["type"] for row in await worker.outbox()].count("payment.link_created") == 1


async def test_two_events_that_want_the_same_effect_meet_in_one_row(worker: Worker) -> None:
    await deliver(worker, enveloped(created()))
    await deliver(worker, enveloped(created()))
    assert len(worker.probe.performed) == 1
    assert [row["outcome"] for row in await worker.inbox()] == ["done", "done"]


async def test_another_intent_is_another_effect(worker: Worker) -> None:
    await deliver(worker, enveloped(created()))
    await deliver(worker, enveloped(created(intent=2)), intent=2)
    assert len(worker.probe.performed) == 2


async def test_the_completion_events_id_is_derived_from_its_cause(worker: Worker) -> None:
    envelope = enveloped(created())
    await deliver(worker, envelope)
    (row,) = await worker.outbox()
    assert row["message_id"] == derived_id(envelope.id, "probe-worker.link", "payment.link_created", "0")
    headers = row["properties"]["headers"]
    assert headers["causation_id"] == str(envelope.id)


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_transient_failure_goes_to_its_rung(worker: Worker, attempt: int) -> None:
    worker.probe.on_perform = [Transient("503 from the provider", code="503")] * 2
    envelope = enveloped(created())
    for _ in range(attempt):
        await deliver(worker, envelope)
        envelope = envelope.again(counts=True)
    retry, job = (await worker.outbox())[-2:]
    assert retry["exchange"] == f"llegada.retry.{2**attempt}s"
    assert retry["routing_key"] == "probe-worker.link"
    body = json.loads(job["body"])
    assert (body["attempt"], body["attempts"], body["step_name"]) == (attempt, 3, "paymentLink")
    assert body["reason"] == "503 from the provider"


async def test_the_third_failure_is_a_dead_letter_with_everything_that_helps(worker: Worker) -> None:
    worker.probe.on_perform = [Transient("503 from the provider", code="503")] * 3
    envelope = enveloped(created())
    for _ in range(3):
        await deliver(worker, envelope)
        envelope = envelope.again(counts=True)
    job, dead = (await worker.outbox())[-2:]
    assert job["type"] == "job.failed"
    assert (dead["exchange"], dead["routing_key"]) == ("llegada.dead-letters", "probe-worker")
    headers = dead["properties"]["headers"]
    assert headers["error_class"] == "transient"
    assert headers["queue"] == "probe-worker.link"
    assert headers["attempts"] == 3
    assert dead["body"] == created().model_dump_json().encode()


@pytest.mark.parametrize("failure", [Permanent("no"), Credentials("key refused", advice="check the key")])
async def test_what_cannot_work_is_a_dead_letter_at_once(worker: Worker, failure: Exception) -> None:
    worker.probe.on_perform = [failure]
    await deliver(worker, enveloped(created()))
    assert [row["type"] for row in await worker.outbox()] == ["job.failed", "reservation.created"]
    assert [row["outcome"] for row in await worker.inbox()] == ["dead"]


@pytest.mark.parametrize("kind", [RateLimited, ProviderDown])
async def test_a_wait_is_no_attempt(worker: Worker, kind: type[RateLimited] | type[ProviderDown]) -> None:
    worker.probe.on_perform = [kind("later", retry_after=timedelta(seconds=5))] * 5
    envelope = enveloped(created())
    for _ in range(5):
        await deliver(worker, envelope)
        envelope = envelope.again(counts=False)
    (row,) = await worker.inbox()
    assert (row["outcome"], row["attempt"], row["pass"]) == ("waiting", 0, 4)


async def test_a_retry_after_is_rounded_up_to_its_rung(worker: Worker) -> None:
    worker.probe.on_perform = [RateLimited("slow down", retry_after=timedelta(seconds=5))]
    await deliver(worker, enveloped(created()))
    assert (await worker.outbox())[0]["exchange"] == "llegada.retry.8s"


@pytest.mark.parametrize(
    ("body", "said"), [(b"\xff\x00", "Invalid JSON"), (b'{"organization_id": 1}', "reservation_id: Field required")]
)
async def test_what_does_not_decode_is_a_dead_letter_byte_for_byte(worker: Worker, body: bytes, said: str) -> None:
    await worker.link.deliver(enveloped(created()), body)
    job, dead = await worker.outbox()
    assert dead["body"] == body
    assert said in json.loads(job["body"])["reason"]


async def test_an_unknown_outcome_is_looked_up_before_the_next_try(worker: Worker) -> None:
    worker.probe.on_perform = [OutcomeUnknown("no answer")]
    envelope = enveloped(created())
    await deliver(worker, envelope)
    assert worker.probe.looked_up == []
    await deliver(worker, envelope.again(counts=True))
    assert [attempt.number for attempt in worker.probe.looked_up] == [2]
    references = [attempt.reference for attempt in worker.probe.performed]
    assert len(set(references)) == 2
    assert worker.probe.performed[1].earlier_references == (references[0],)
    (effect,) = await worker.rows("select * from effects")
    assert (effect["state"], effect["unknown_outcomes"], effect["attempt"]) == ("done", 1, 2)


async def test_a_known_failure_is_not_looked_up(worker: Worker) -> None:
    worker.probe.on_perform = [Transient("503")]
    envelope = enveloped(created())
    await deliver(worker, envelope)
    await deliver(worker, envelope.again(counts=True))
    assert worker.probe.looked_up == []


async def test_what_the_look_up_found_is_not_done_again(worker: Worker) -> None:
    worker.probe.on_perform = [OutcomeUnknown("no answer")]
    envelope = enveloped(created())
    await deliver(worker, envelope)
    found = await worker.probe.link(created()).perform(worker.probe.performed[0])
    worker.probe.performed.clear()
    worker.probe.look_up_answer = Found(found)
    await deliver(worker, envelope.again(counts=True))
    assert worker.probe.performed == []
    assert [row["outcome"] for row in await worker.inbox()] == ["done"]


async def test_where_a_double_is_worse_than_a_wait_staff_are_asked(worker: Worker) -> None:
    worker.probe.on_perform = [OutcomeUnknown("no answer")]
    worker.probe.look_up_answer = AskStaff("it may have been sent", advice="ask the guest")
    envelope = enveloped(created())
    await deliver(worker, envelope)
    await deliver(worker, envelope.again(counts=True))
    assert len(worker.probe.performed) == 1
    assert [row["outcome"] for row in await worker.inbox()] == ["dead"]


async def test_a_killed_attempt_is_unknown_and_waits_for_the_end_of_its_lease(worker: Worker) -> None:
    worker.probe.gate = asyncio.Event()
    envelope = enveloped(created())
    killed = asyncio.create_task(deliver(worker, envelope))
    await worker.probe.entered.wait()
    killed.cancel()
    await asyncio.wait([killed])
    worker.probe.gate = None
    await deliver(worker, envelope)  # the redelivery finds the lease alive
    assert [row["outcome"] for row in await worker.inbox()] == ["waiting"]
    await worker.rows("update effects set lease_until = now() - interval '1 second' returning 1")
    await deliver(worker, envelope.again(counts=False))
    assert [attempt.number for attempt in worker.probe.looked_up] == [2]
    (effect,) = await worker.rows("select * from effects")
    assert (effect["state"], effect["unknown_outcomes"]) == ("done", 1)


async def test_who_lost_the_lease_inside_the_call_settles_nothing(worker: Worker) -> None:
    worker.probe.gate = asyncio.Event()
    envelope = enveloped(created())
    slow = asyncio.create_task(deliver(worker, envelope))
    await worker.probe.entered.wait()
    await worker.rows("update effects set lease_until = now() - interval '1 second' returning 1")
    gate, worker.probe.gate = worker.probe.gate, None
    await deliver(worker, enveloped(created()))  # another event with the same wish takes over
    gate.set()
    await slow
    outbox = await worker.outbox()
    assert [row["type"] for row in outbox].count("payment.link_created") == 1
    assert json.loads(outbox[0]["body"])["reference"] == worker.probe.performed[1].reference


async def test_an_effect_that_is_no_longer_wanted_is_skipped_as_a_success(worker: Worker) -> None:
    worker.probe.not_wanted = NotWanted("the reservation was cancelled")
    await deliver(worker, enveloped(created()))
    assert worker.probe.performed == []
    (row,) = await worker.outbox()
    assert row["type"] == "job.skipped"
    assert [row["outcome"] for row in await worker.inbox()] == ["skipped"]


async def test_an_unexpected_error_inside_a_call_is_an_unknown_outcome(worker: Worker) -> None:
    worker.probe.on_perform = [KeyError("url")]
    envelope = enveloped(created())
    await deliver(worker, envelope)
    assert [row["failure_class"] for row in await worker.inbox()] == ["outcome_unknown"]


async def test_what_ended_thirty_days_ago_is_forgotten_unless_it_may_be_replayed(worker: Worker) -> None:
    async with worker.database.transaction() as tx:
        for age, outcome in ((29, "done"), (31, "done"), (31, "skipped"), (31, "dead"), (31, "waiting")):
            for subscriber in ("a", "b"):
                await tx.execute(
                    "insert into inbox (subscriber, message_id, pass, attempt, outcome, settled_at)"
                    " values ($1, gen_random_uuid(), 0, 1, $2, now() - $3 * interval '1 day')",
                    subscriber,
                    outcome,
                    age,
                )
        await clean_up(tx)
    left = [(row["subscriber"], row["outcome"]) for row in await worker.inbox()]
    assert sorted(left) == [(s, outcome) for s in ("a", "b") for outcome in ("dead", "done", "waiting")]

"""Outbox, relay, exchanges, queues and consumers on a real broker: run on RabbitMQ 3.10 and on 4.3."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import aio_pika
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.connection import Connection
from aio_pika.robust_connection import RobustConnection

from llegada.events.notification import NotificationReady
from llegada.events.types import Channel
from llegada.messaging.envelope import Lane
from llegada.messaging.failures import Permanent, Transient
from llegada.messaging.outbox import OutboxMessage, add
from llegada.messaging.publisher import Outgoing, Publisher, Receipt
from llegada.messaging.topology import UNROUTABLE, TopologyError, check, declare, rung_name, topology
from llegada.testing.eventually import eventually

from .conftest import SERVICE, SUBSCRIPTIONS, Worker, created, enveloped, take

LINK = "probe-worker.link"


async def done(worker: Worker, subscriber: str = LINK) -> bool:
    return any(row["subscriber"] == subscriber and row["outcome"] == "done" for row in await worker.inbox())


async def test_an_event_travels_from_outbox_to_handler(worker: Worker) -> None:
    await worker.declare()
    await worker.consume()
    worker.relay()
    envelope = await worker.publish(created())
    await eventually(lambda: done(worker))
    assert len(worker.probe.performed) == 1
    assert {str(row["message_id"]) for row in await worker.inbox()} == {str(envelope.id)}
    await eventually(lambda: _kept_back(worker, "payment.link_created"))  # nobody subscribes to it here


async def _kept_back(worker: Worker, event_type: str) -> bool:
    """The only row that is left is of this type, and waits for a route."""
    rows = await worker.outbox()
    return [row["type"] for row in rows] == [event_type] and rows[0]["held_until"] is not None


async def test_the_console_shows_readable_properties(worker: Worker) -> None:
    channel = await worker.declare()
    worker.relay()
    envelope = await worker.publish(created())
    message = await eventually(lambda: take(channel, "probe-worker.note"))
    assert message is not None
    assert message.message_id == str(envelope.id)
    assert (message.type, message.app_id) == ("reservation.created", "tests")
    assert message.correlation_id == envelope.correlation_id
    assert message.content_type == "application/json"
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    assert message.headers["subject"] == "reservation/1"
    assert json.loads(message.body) == json.loads(created().model_dump_json())


async def test_the_bulk_lane_has_queues_of_its_own(worker: Worker) -> None:
    channel = await worker.declare()
    worker.relay()
    await worker.publish(created(), Lane.BULK)
    message = await eventually(lambda: take(channel, "probe-worker.note.bulk"))
    assert message is not None
    assert message.headers["lane"] == "bulk"
    assert await take(channel, "probe-worker.note") is None


async def test_one_subjects_events_leave_in_the_order_of_their_rows(worker: Worker) -> None:
    channel = await worker.declare()
    for number in range(1, 51):
        await worker.publish(created(number))
    worker.relay()
    seen: list[int] = []
    while len(seen) < 50:
        message = await eventually(lambda: take(channel, "probe-worker.note"))
        assert message is not None
        seen.append(json.loads(message.body)["reservation_id"])
    assert seen == list(range(1, 51))


async def test_a_retry_comes_back_to_its_queue_alone_after_its_delay(worker: Worker) -> None:
    await worker.declare()
    await worker.consume()
    worker.relay()
    worker.probe.on_perform = [Transient("503")]
    started = asyncio.get_running_loop().time()
    await worker.publish(created())
    await eventually(lambda: done(worker), 15)
    assert 1.9 < asyncio.get_running_loop().time() - started < 20
    assert len(worker.probe.performed) == 2
    assert worker.probe.seen == [1]


async def test_a_dead_letter_rests_with_its_headers(worker: Worker) -> None:
    channel = await worker.declare()
    await worker.consume()
    worker.relay()
    worker.probe.on_perform = [Permanent("Bold refused the request", code="AP002")]
    await worker.publish(created())
    message = await eventually(lambda: take(channel, "probe-worker.dead-letters"))
    assert message is not None
    assert message.headers["error"] == "Bold refused the request"
    assert message.headers["error_code"] == "AP002"
    assert message.headers["queue"] == LINK
    assert message.body == created().model_dump_json().encode()


async def test_a_foreign_body_becomes_a_dead_letter_byte_for_byte(worker: Worker) -> None:
    channel = await worker.declare()
    await worker.consume()
    worker.relay()
    await channel.default_exchange.publish(Message(b"\xff not ours"), LINK)
    message = await eventually(lambda: take(channel, "probe-worker.dead-letters"))
    assert message is not None
    assert message.body == b"\xff not ours"
    assert message.headers["error_class"] == "undecodable"


async def test_an_unroutable_row_stands_in_nobodys_way(worker: Worker) -> None:
    channel = await worker.declare()
    lonely = NotificationReady(
        **created().model_dump(
            include={"organization_id", "reservation_id", "language", "guest_name", "property_name"}
        ),
        amount=created().amount,
        check_in_date=created().check_in_date,
        check_out_date=created().check_out_date,
        check_in_url="https://a.test",
        payment_url="https://b.test",
        kind="confirmation",
        channel=Channel.WHATSAPP,
        recipient="+573001234567",
    )
    await worker.publish(lonely)
    await worker.publish(created())
    worker.relay()
    assert await eventually(lambda: take(channel, "probe-worker.note")) is not None
    await eventually(lambda: _kept_back(worker, "notification.ready"))


async def test_two_rows_with_one_message_id_are_never_in_flight_together(worker: Worker) -> None:
    channel = await worker.declare()
    envelope = enveloped(created())
    body = created().model_dump_json().encode()
    async with worker.database.transaction() as tx:
        known = OutboxMessage("", "probe-worker.note", envelope, body)
        unknown = OutboxMessage("", "nobody.home", envelope, body)
        await add(tx, [known, unknown, known])
    worker.relay()
    await eventually(lambda: _left(worker, ["nobody.home"]))
    for _ in range(2):
        assert await eventually(lambda: take(channel, "probe-worker.note")) is not None


async def _left(worker: Worker, keys: list[str]) -> bool:
    return [row["routing_key"] for row in await worker.outbox()] == keys


async def test_only_one_relay_is_active_and_a_standby_takes_over(worker: Worker) -> None:
    await worker.declare()
    first = worker.relay()
    await eventually(lambda: first.active)
    second = worker.relay()
    third = await eventually(lambda: second.last_seen > first.last_seen or True)
    assert third
    assert not second.active
    first.stop()
    await eventually(lambda: second.active)


async def test_a_standby_ends_a_silent_relay(worker: Worker) -> None:
    await worker.declare()
    first = worker.relay()
    await eventually(lambda: first.active)
    pid = (await worker.rows("select backend_pid from relay_heartbeat"))[0]["backend_pid"]
    second = worker.relay()

    async def ended() -> bool:
        await worker.rows("update relay_heartbeat set beat_at = now() - interval '31 seconds' returning 1")
        now = (await worker.rows("select backend_pid from relay_heartbeat"))[0]["backend_pid"]
        return bool(now != pid)

    await eventually(ended, 15)
    await eventually(lambda: first.active != second.active)


async def test_publishing_says_what_the_broker_said(worker: Worker, broker_url: str) -> None:
    await worker.declare()
    publisher = Publisher(broker_url, "test")

    receipts = await publisher.publish([outgoing("probe-worker.note"), outgoing("nobody.home")])
    assert receipts == [Receipt.CONFIRMED, Receipt.UNROUTABLE]
    await publisher.close()


async def test_a_message_over_which_the_broker_closes_the_channel_is_refused_alone(
    worker: Worker, broker_url: str
) -> None:
    channel = await worker.declare()
    publisher = Publisher(broker_url, "test")
    batch = [outgoing("probe-worker.note") for _ in range(20)]
    batch[3], batch[7] = (outgoing("probe-worker.note", exchange="not there") for _ in range(2))
    receipts = await publisher.publish(batch)
    assert [place for place, receipt in enumerate(receipts) if receipt is not Receipt.CONFIRMED] == [3, 7]
    assert receipts[3] is receipts[7] is Receipt.REFUSED
    arrived = set[str]()

    async def all_are_there() -> bool:
        """Some may be there twice: their confirms went with the channel."""
        message = await take(channel, "probe-worker.note")
        arrived.update([str(message.message_id)] if message else [])
        return arrived == {str(message.message_id) for message in batch if not message.exchange}

    await eventually(all_are_there)
    await publisher.close()


async def test_a_row_that_the_broker_refuses_stands_in_nobodys_way(worker: Worker) -> None:
    channel = await worker.declare()
    envelope, body = enveloped(created()), created().model_dump_json().encode()
    async with worker.database.transaction() as tx:
        await add(tx, [OutboxMessage("not there", "refused", envelope, body)])
    await worker.publish(created())
    worker.relay()
    assert await eventually(lambda: take(channel, "probe-worker.note")) is not None
    await eventually(lambda: _kept_back(worker, created().type))


def outgoing(key: str, exchange: str = "") -> Outgoing:
    e = enveloped(created())
    return Outgoing(exchange, key, e.id, e.type, e.source, e.correlation_id, e.headers(), b"{}")


async def test_rows_wait_while_there_is_no_broker(worker: Worker) -> None:
    await worker.declare()
    worker.relay("amqp://guest:guest@127.0.0.1:1/")
    await worker.publish(created())
    channel = await worker.declare()
    worker.relay()
    assert len(await worker.outbox()) == 1
    del channel


async def test_a_retry_for_a_deleted_queue_does_not_stop_the_rung_for_others(worker: Worker) -> None:
    """A shared rung dead-letters at least once: what it cannot route would block it, without the alternate exchange."""
    channel = await worker.declare()
    rung = await channel.get_exchange(rung_name(timedelta(seconds=1)))
    for number in range(100):
        await rung.publish(Message(b"{}", message_id=f"gone-{number}"), "nobody.home")
    for number in range(50):
        await rung.publish(Message(b"{}", message_id=f"alive-{number}"), "probe-worker.note")
    back = 0
    while back < 50:
        assert await eventually(lambda: take(channel, "probe-worker.note")) is not None
        back += 1
    lost = 0
    while lost < 100:
        assert await eventually(lambda: take(channel, UNROUTABLE)) is not None
        lost += 1


async def test_declaring_twice_is_harmless_and_the_check_is_content(worker: Worker) -> None:
    channel = await worker.declare()
    wanted = topology({SERVICE: SUBSCRIPTIONS})
    await declare(channel, wanted)
    await check(channel, wanted)


async def test_the_check_names_what_is_missing(worker: Worker, broker_url: str) -> None:
    await worker.declare()
    wanted = topology({SERVICE: SUBSCRIPTIONS, "absent-worker": SUBSCRIPTIONS})
    async with await aio_pika.connect(broker_url) as connection:
        with pytest.raises(TopologyError, match="absent-worker"):
            await check(await connection.channel(), wanted)


def test_every_queue_that_dead_letters_does_so_at_least_once() -> None:
    for queue in topology({SERVICE: SUBSCRIPTIONS}).queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        if "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
            assert queue.arguments["x-overflow"] == "reject-publish"


async def test_a_handlers_prefetch_is_its_concurrency(worker: Worker) -> None:
    await worker.declare()
    await worker.consume()
    worker.relay()
    worker.probe.gate = asyncio.Event()
    for number in range(1, 21):
        await worker.publish(created(number))
    await eventually(lambda: len(worker.probe.performed) == 5)
    await eventually(lambda: len(worker.probe.seen) == 20)
    assert len(worker.probe.performed) == 5
    worker.probe.gate.set()
    await eventually(lambda: len(worker.probe.performed) == 20)


async def test_a_drain_finishes_what_was_begun(worker: Worker) -> None:
    await worker.declare()
    binding = await worker.consume()
    worker.relay()
    worker.probe.gate = asyncio.Event()
    await worker.publish(created())
    await worker.probe.entered.wait()
    drain = asyncio.create_task(binding.drain(10))
    worker.probe.gate.set()
    await drain
    assert await done(worker)


@pytest.mark.parametrize("begun", [0, 1, 3])
async def test_consumers_start_although_the_connection_is_cut_in_the_middle(
    worker: Worker, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.declare()
    open_channel, opened = RobustConnection.channel, 0

    async def cut_once(self: RobustConnection, *arguments: Any, **more: Any) -> Any:
        nonlocal opened
        opened += 1
        if opened == begun + 1:
            assert self.transport is not None
            await self.transport.connection.close(ConnectionResetError())
        return await open_channel(self, *arguments, **more)

    monkeypatch.setattr(RobustConnection, "channel", cut_once)
    binding = await worker.consume()
    assert binding.connected
    assert opened > begun + 1
    worker.relay()
    await worker.publish(created())
    await eventually(lambda: done(worker))
    await eventually(lambda: worker.probe.seen == [1])


@pytest.mark.parametrize("word", [RuntimeError("closed"), StopAsyncIteration()], ids=["closed", "in the handshake"])
async def test_a_relay_goes_on_although_its_connection_is_cut_before_it_has_a_channel(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, word: Exception
) -> None:
    channel = await worker.declare()
    open_channel, cut = Connection.channel, False

    def cut_once(self: Connection, *arguments: Any, **more: Any) -> Any:
        nonlocal cut
        if not cut:
            cut = True
            raise word  # aiormq's
        return open_channel(self, *arguments, **more)

    monkeypatch.setattr(Connection, "channel", cut_once)
    worker.relay()
    await worker.publish(created())
    assert await eventually(lambda: take(channel, "probe-worker.note"))
    assert cut

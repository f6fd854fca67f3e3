"""How fast messages are consumed durably, and rows are relayed: side by side with the bare client, in one run.

    python benchmarks/messaging.py [--messages 5000] [--rounds 3] [--waiting 0] [--write]

Consuming: a quorum queue is filled, then emptied by one process: the bare client (aiormq) and FastStream, which only
acknowledge, and the API's projection, which commits inbox, state and timeline first (metrics on). Relaying: rows of an
outbox until the broker has confirmed them, with an empty outbox behind them and, in a database beside it, with
`--waiting` rows (bulk lane); rounds alternate.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import aio_pika
import aiormq
import psycopg
import uvloop
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue
from pamqp.commands import Basic
from sqlalchemy import make_url

from llegada.events.payment import PaymentLinkCreated
from llegada.events.types import Money, OrganizationId, ReservationId
from llegada.messaging.broker import STATE_PREFETCH, Binding
from llegada.messaging.delivery import Consumer
from llegada.messaging.envelope import Lane, first
from llegada.messaging.outbox import OutboxMessage, add, event_message
from llegada.messaging.publisher import Outgoing, Publisher
from llegada.messaging.relay import Relay
from llegada.messaging.subscription import Subscription
from llegada.messaging.topology import declare, topology
from llegada.messaging.transaction import Database
from llegada.runtime.database import SYSTEM_ROLE, engine
from llegada.runtime.logging import configure
from llegada.runtime.migrate import migrate
from llegada.testing.eventually import eventually
from llegada_dev.cluster import ROOT
from llegada_dev.infrastructure import infrastructure
from llegada_dev.ports import Ports, free_base
from reservation_api.service import service
from reservation_api.timeline.projection import Projection

QUEUE = "reservation-api.project"
SUBSCRIPTIONS = (Subscription("project", Projection.project),)


class Stage:
    """Broker and database with the API's schema, and as many reservations as messages."""

    def __init__(self, database_url: str, broker_url: str, messages: int) -> None:
        self.database_url = database_url
        self.broker_url = broker_url
        self.messages = messages

    def prepare(self) -> None:
        migrate(service.package, self.database_url, oversees=service.keeps_dead_letters)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "insert into reservation_api.organizations values (1, 'Hostal', 'America/Bogota', 'es', '{whatsapp}')"
            )
            connection.execute(
                "insert into reservation_api.reservations (organization_id, guest_name, amount, currency,"
                " check_in_date, check_out_date, language, check_in_token, created_by)"
                " select 1, 'Ana', 1, 'COP', '2026-12-01', '2026-12-02', 'es', n::text, 'bench'"
                " from generate_series(1, %s) n",
                (self.messages,),
            )

    def beside(self, name: str) -> "Stage":
        """Another database on the same server, prepared alike."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f'create database "{name}"'.encode())
        url = make_url(self.database_url).set(database=name).render_as_string(hide_password=False)
        other = Stage(url, self.broker_url, self.messages)
        other.prepare()
        return other

    async def declare(self) -> None:
        async with await aio_pika.connect(self.broker_url) as connection:
            await declare(await connection.channel(), topology({service.name: SUBSCRIPTIONS}))

    def database(self, role: str = SYSTEM_ROLE, *, pooled: bool = True) -> Database:
        return Database(engine(self.database_url, service.package, role=role, pooled=pooled), service.package)

    def events(self) -> list[OutboxMessage]:
        """A new link for each reservation, as the payment worker publishes them."""
        return [_link(number) for number in range(1, self.messages + 1)]

    async def fill(self) -> None:
        publisher = Publisher(self.broker_url, "bench")
        events = self.events()
        for start in range(0, len(events), 500):
            await publisher.publish([_outgoing(message) for message in events[start : start + 500]])
        await publisher.close()


def _link(number: int) -> OutboxMessage:
    event = PaymentLinkCreated(
        organization_id=OrganizationId(1),
        reservation_id=ReservationId(number),
        url="https://checkout.test/LNK_1234567890",
        link_id="LNK_1234567890",
        reference=f"reservation-{number}-payment-link-1",
        amount=Money(amount=180_000),
        expires_at=datetime.now(UTC),
    )
    envelope = first(event, source="bench", correlation_id=str(uuid4()), lane=Lane.INTERACTIVE, traceparent=None)
    return event_message(event, envelope)


def _outgoing(message: OutboxMessage) -> Outgoing:
    e = message.envelope
    return Outgoing(
        "",
        QUEUE,
        e.id,
        e.type,
        app_id=e.source,
        correlation_id=e.correlation_id,
        headers=e.headers(),
        body=message.body,
    )


class Countdown:
    """Done after so many acknowledgements."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.done = asyncio.Event()

    def one(self) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()


async def bare(stage: Stage) -> float:
    """aiormq: the lowest client that is still AMQP."""
    countdown = Countdown(stage.messages)
    connection = await aiormq.connect(stage.broker_url)
    channel = await connection.channel()
    await channel.basic_qos(prefetch_count=STATE_PREFETCH)

    async def take(message: aiormq.abc.DeliveredMessage) -> None:
        assert isinstance(message.delivery, Basic.Deliver)
        await channel.basic_ack(message.delivery.delivery_tag or 0)
        countdown.one()

    started = time.perf_counter()
    await channel.basic_consume(QUEUE, take)
    await countdown.done.wait()
    seconds = time.perf_counter() - started
    await connection.close()
    return seconds


async def faststream(stage: Stage) -> float:
    """FastStream without a database."""
    countdown = Countdown(stage.messages)
    broker = RabbitBroker(stage.broker_url, apply_types=False, logger=None, graceful_timeout=None)

    async def take(message: RabbitMessage) -> None:
        await message.ack()
        countdown.one()

    async def whole(message: RabbitMessage) -> RabbitMessage:
        return message

    broker.subscriber(
        RabbitQueue(QUEUE, declare=False),
        channel=Channel(prefetch_count=STATE_PREFETCH),
        ack_policy=AckPolicy.MANUAL,
        decoder=whole,
    )(take)
    started = time.perf_counter()
    await broker.start()
    await countdown.done.wait()
    seconds = time.perf_counter() - started
    await broker.stop()
    return seconds


async def projection(stage: Stage) -> float:
    """The API's projection: inbox, state, timeline, committed before each acknowledgement."""
    countdown, database = Countdown(stage.messages), stage.database()
    consumer = Consumer(service.name, SUBSCRIPTIONS[0], Projection(), database)
    binding = Binding(stage.broker_url, service.name, [_Counting(consumer, countdown)], 5)
    started = time.perf_counter()
    await binding.start()
    await countdown.done.wait()
    seconds = time.perf_counter() - started
    await binding.drain(10)
    await database.engine.dispose()
    return seconds


class _Counting(Consumer[Projection]):
    """A consumer that says how many it has settled."""

    def __init__(self, inner: Consumer[Projection], countdown: Countdown) -> None:
        self.__dict__.update(inner.__dict__)
        self._countdown = countdown

    async def deliver(self, *arguments: object, **more: object) -> list[int]:
        ids = await super().deliver(*arguments, **more)  # type: ignore[arg-type]
        self._countdown.one()
        return ids


async def consuming(stage: Stage, rounds: int) -> dict[str, float]:
    """Messages a second: median of alternating rounds."""
    contenders: dict[str, Callable[[Stage], Awaitable[float]]] = {
        "bare client": bare,
        "FastStream": faststream,
        "projection": projection,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            await stage.fill()
            seconds[name].append(await contender(stage))
    return {name: stage.messages / statistics.median(found) for name, found in seconds.items()}


async def relaying(outboxes: dict[str, Stage], rounds: int) -> dict[str, float]:
    """Rows a second until the last one is confirmed: median of alternating rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in outboxes}
    for _ in range(rounds):
        for name, stage in outboxes.items():
            seconds[name].append(await _relayed(stage))
    return {name: outboxes[name].messages / statistics.median(found) for name, found in seconds.items()}


async def _relayed(stage: Stage) -> float:
    async with AsyncExitStack() as stack:
        database, own = stage.database(), stage.database("none", pooled=False)
        stack.push_async_callback(database.engine.dispose)
        stack.push_async_callback(own.engine.dispose)
        async with database.transaction() as tx:
            events = stage.events()
            for start in range(0, len(events), 1000):
                await add(tx, events[start : start + 1000])
        relay = Relay(service.name, own, Publisher(stage.broker_url, "bench relay"))
        started = time.perf_counter()
        task = asyncio.create_task(relay.run())
        await eventually(lambda: _none_left(database), 600)
        seconds = time.perf_counter() - started
        relay.stop()
        await task
    async with await aio_pika.connect(stage.broker_url) as connection:
        channel = await connection.channel()
        for name in (QUEUE, f"{QUEUE}.bulk"):
            await (await channel.get_queue(name, ensure=False)).purge()
    return seconds


async def _none_left(database: Database) -> bool:
    row = await database.fetchrow(
        "select not exists (select from outbox where lane = 0 and held_until is null) as sent"
    )
    return row is not None and bool(row["sent"])


def wait_behind(stage: Stage, rows: int) -> None:
    """So many bulk rows that nobody sends while the interactive ones are measured."""
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        connection.execute(
            "insert into reservation_api.outbox (lane, exchange, routing_key, message_id, type, properties, body)"
            " select 1, 'llegada.events.bulk', 'payment.link_created', gen_random_uuid(), 'payment.link_created',"
            " %s, repeat('x', 300)::bytea from generate_series(1, %s)",
            ('{"headers": {}, "app_id": "bench", "correlation_id": "1"}', rows),
        )
        connection.execute("vacuum (analyze) reservation_api.outbox")  # as after a quiet hour
        connection.execute("checkpoint")
    os.sync()  # what was just written does not slow down what is measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--waiting", type=int, default=0, help="rows that wait in the outbox meanwhile")
    parser.add_argument("--write", action="store_true", help="write docs/benchmark-messaging.md")
    chosen = parser.parse_args()
    configure("bench", "WARNING")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llegada-")))
        folder.chmod(0o755)
        found = stack.enter_context(infrastructure(folder, Ports(free_base())))
        assert found.amqp is not None
        stage = Stage(found.database_url, found.amqp, chosen.messages)
        stage.prepare()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(stage.declare())
            rates = runner.run(consuming(stage, chosen.rounds))
            outboxes = {"nothing": stage}
            if chosen.waiting:
                outboxes[f"{chosen.waiting:,} waiting rows"] = behind = stage.beside("waiting")
                wait_behind(behind, chosen.waiting)
            relayed = runner.run(relaying(outboxes, chosen.rounds))
    table = report(rates, relayed, chosen.messages, chosen.rounds)
    print(table)
    if chosen.write:
        (ROOT / "docs" / "benchmark-messaging.md").write_text(table)
    return 0


def report(rates: dict[str, float], relayed: dict[str, float], messages: int, rounds: int) -> str:
    base, alone = rates["bare client"], relayed["nothing"]
    rows = [f"| {name} | {rate:,.0f} | {rate / base:.2f} |" for name, rate in rates.items()]
    relay = [f"| {name} | {rate:,.0f} | {rate / alone:.2f} |" for name, rate in relayed.items()]
    return "\n".join(
        [
            "# Benchmark of the transport",
            "",
            f"Written by `benchmarks/messaging.py --write`; {messages:,} messages, median of {rounds} alternating",
            "rounds, one process, quorum queues, broker and database on the same two cores. The ratios count, not the",
            "figures.",
            "",
            "## Emptying a queue",
            "",
            "| consumer | messages/s | ratio |",
            "|---|---|---|",
            *rows,
            "",
            "The bare client (aiormq) and FastStream only acknowledge. The projection commits inbox, state and",
            "timeline first, with metrics.",
            "",
            "## Emptying an outbox",
            "",
            "| behind the rows | rows/s | ratio |",
            "|---|---|---|",
            *relay,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

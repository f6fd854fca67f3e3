"""A small worker of two handlers, and the parts that carry its messages: the real ones."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import psycopg
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from llegada.events.event import Event
from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import ReservationCreated
from llegada.events.types import Contact, Money, OrganizationId, ReservationId
from llegada.messaging.broker import Binding
from llegada.messaging.delivery import Consumer
from llegada.messaging.effects import AskStaff, Attempt, Effect, EffectKey, Found, NotWanted, SendAgain
from llegada.messaging.envelope import Envelope, Lane, first
from llegada.messaging.gate import Limit, Way
from llegada.messaging.outbox import add, event_message
from llegada.messaging.publisher import Publisher
from llegada.messaging.relay import Relay
from llegada.messaging.subscription import Subscription
from llegada.messaging.topology import declare, topology
from llegada.messaging.transaction import Database, Transaction
from llegada.runtime.database import engine, own_role
from llegada.testing.plugin import ServiceDatabase

SERVICE = "probe-worker"
SCHEMA = "probe_worker"


def created(reservation_id: int = 1, intent: int = 1) -> ReservationCreated:
    return ReservationCreated(
        organization_id=OrganizationId(1),
        reservation_id=ReservationId(reservation_id),
        guest_name="Ana",
        contact=Contact(phone="+573001234567"),
        amount=Money(amount=180_000),
        check_in_date=date(2026, 12, 1),
        check_out_date=date(2026, 12, 3),
        property_name="Hostal",
        check_in_url="https://example.test/check-in/1",
        payment_link_intent=intent,
    )


def enveloped(event: Event, lane: Lane = Lane.INTERACTIVE) -> Envelope:
    return first(event, source="tests", correlation_id=str(uuid4()), lane=lane, traceparent=None)


@dataclass
class Probe:
    """The handler class: what it saw, and what it shall do."""

    seen: list[int] = field(default_factory=list)
    performed: list[Attempt] = field(default_factory=list)
    looked_up: list[Attempt] = field(default_factory=list)
    on_note: Callable[[ReservationCreated], None] | None = None
    on_perform: list[Exception | None] = field(default_factory=list)
    look_up_answer: Found | SendAgain | AskStaff = field(default_factory=lambda: SendAgain("cannot be known"))
    not_wanted: NotWanted | None = None
    limits: list[Limit] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None

    async def note(self, event: ReservationCreated, tx: Transaction) -> None:
        if self.on_note is not None:
            self.on_note(event)
        await tx.execute("insert into notes (reservation_id) values ($1)", event.reservation_id)
        self.seen.append(event.reservation_id)

    def link(self, event: ReservationCreated) -> Effect[PaymentLinkCreated]:
        return LinkEffect(self, event)


class LinkEffect:
    def __init__(self, probe: Probe, event: ReservationCreated) -> None:
        self._probe = probe
        self._event = event

    def key(self) -> EffectKey:
        return EffectKey(1, "link", self._event.subject, self._event.payment_link_intent)

    def way(self) -> Way:
        return Way("bold", "1", self._probe.limits)

    async def still_wanted(self) -> NotWanted | None:
        return self._probe.not_wanted

    async def look_up(self, attempt: Attempt) -> Found | SendAgain | AskStaff:
        self._probe.looked_up.append(attempt)
        return self._probe.look_up_answer

    async def perform(self, attempt: Attempt) -> PaymentLinkCreated:
        self._probe.performed.append(attempt)
        self._probe.entered.set()
        if self._probe.gate is not None:
            await self._probe.gate.wait()
        problem = self._probe.on_perform.pop(0) if self._probe.on_perform else None
        if problem is not None:
            raise problem
        return PaymentLinkCreated(
            organization_id=self._event.organization_id,
            reservation_id=self._event.reservation_id,
            intent=self._event.payment_link_intent,
            url=f"https://checkout.test/{attempt.reference}",
            link_id="LNK_1",
            reference=attempt.reference,
            amount=self._event.amount,
            expires_at=datetime.now(UTC),
        )


SUBSCRIPTIONS: tuple[Subscription[Probe], ...] = (
    Subscription("note", Probe.note),
    Subscription("link", Probe.link, step="paymentLink"),
)


class Worker:
    """The probe's process without a process: database, consumers, relay, binding; each part can be started alone."""

    def __init__(self, database: Database, database_url: str, broker_url: str, stack: AsyncExitStack) -> None:
        self.database = database
        self.probe = Probe()
        self.note, self.link = (Consumer(SERVICE, s, self.probe, database) for s in SUBSCRIPTIONS)
        self._declared = False
        self._database_url = database_url
        self._broker_url = broker_url
        self._stack = stack

    async def declare(self, broker_url: str | None = None) -> AbstractChannel:
        connection = await aio_pika.connect(broker_url or self._broker_url)
        self._stack.push_async_callback(connection.close)
        channel = await connection.channel()
        wanted = topology({SERVICE: SUBSCRIPTIONS})
        await declare(channel, wanted)
        if not self._declared:  # what the test before left behind
            for queue in wanted.queues:
                await (await channel.get_queue(queue.name, ensure=False)).purge()
        self._declared = True
        return channel

    def relay(self, broker_url: str | None = None) -> Relay:
        own = engine(self._database_url, SCHEMA, role="none", pooled=False)
        self._stack.push_async_callback(own.dispose)
        relay = Relay(SERVICE, Database(own, SCHEMA), Publisher(broker_url or self._broker_url, "relay"))
        task = asyncio.create_task(relay.run())

        async def end() -> None:
            relay.stop()
            await task

        self._stack.push_async_callback(end)
        return relay

    async def consume(self) -> Binding:
        binding = Binding(self._broker_url, SERVICE, [self.note, self.link], concurrency=5)
        await binding.start()
        self._stack.push_async_callback(binding.drain, 10)
        return binding

    async def publish(self, event: Event, lane: Lane = Lane.INTERACTIVE) -> Envelope:
        envelope = enveloped(event, lane)
        async with self.database.transaction() as tx:
            await add(tx, [event_message(event, envelope)])
        return envelope

    async def rows(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(statement, *arguments)]

    async def outbox(self) -> list[dict[str, Any]]:
        return await self.rows("select * from outbox order by id")

    async def inbox(self) -> list[dict[str, Any]]:
        return await self.rows("select * from inbox order by subscriber, settled_at")


@pytest_asyncio.fixture
async def worker(service_database: ServiceDatabase, database_url: str, broker_url: str) -> AsyncGenerator[Worker]:
    database = await service_database(SCHEMA)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"create table if not exists {SCHEMA}.notes (reservation_id bigint)")
        owner.execute(f"grant all on {SCHEMA}.notes to {own_role(SCHEMA)}")
    async with AsyncExitStack() as stack:
        yield Worker(database, database_url, broker_url, stack)


@pytest.fixture
def event() -> ReservationCreated:
    return created()


async def take(channel: AbstractChannel, queue: str) -> AbstractIncomingMessage | None:
    """One message of a queue, acknowledged; None if it is empty."""
    return await (await channel.get_queue(queue, ensure=False)).get(no_ack=True, fail=False)

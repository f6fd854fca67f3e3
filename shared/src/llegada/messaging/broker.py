"""Binding to FastStream: a subscriber per queue and lane, acknowledged by hand after the settlement.

FastStream connects, consumes, reconnects and bounds what is in flight; decoding is ours, because a body that does not
decode must become a dead letter byte for byte. Queues are declared beforehand (topology), here only passively.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid5

import structlog
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue
from faststream.rabbit.subscriber import RabbitSubscriber

from llegada.messaging.dead_letters import Keeper
from llegada.messaging.dead_letters import read as read_dead_letter
from llegada.messaging.delivery import Consumer
from llegada.messaging.envelope import NAMESPACE, Envelope, Lane, read
from llegada.messaging.publisher import BROKER_AWAY, HEARTBEAT
from llegada.messaging.topology import queue_name

log = structlog.get_logger()

STATE_PREFETCH = 100
"""Deliveries in flight of a handler that only changes state."""
WAITING = 4
"""For each effect inside its call so many deliveries may be at hand: those that take a slot, or sleep for it."""


@dataclass(frozen=True)
class DeadLetterQueues:
    """The queues at the end of the road, and who stores what lies in them."""

    queues: Sequence[str]
    keeper: Keeper


class Binding:
    """The consumers of one service on the broker; a connection of its own, never shared with a publisher."""

    def __init__(
        self,
        url: str,
        service: str,
        consumers: Sequence[Consumer[Any]],
        concurrency: int,
        dead_letters: DeadLetterQueues | None = None,
    ) -> None:
        separator = "&" if "?" in url else "?"
        self._broker = RabbitBroker(
            f"{url}{separator}heartbeat={HEARTBEAT}&name={service}",
            reconnect_interval=0.5,
            fail_fast=False,
            graceful_timeout=None,  # `drain` waits for what is in flight, after it stopped the flow
            logger=None,
            log_level=logging.DEBUG,
            apply_types=False,
        )
        self.service = service
        self.queues: list[str] = []
        self.in_flight = 0
        self._consumers = consumers
        self._idle = asyncio.Event()
        self._idle.set()
        self.last_settled = time.monotonic()
        self.started = False
        self._subscribers: list[RabbitSubscriber] = []
        for consumer in consumers:
            prefetch = concurrency * WAITING if consumer.subscription.has_effect else STATE_PREFETCH
            for lane in Lane:
                name = queue_name(service, consumer.subscription.action, lane)
                self._subscribe(name, prefetch, partial(_deliver, consumer))
        self._ends = frozenset(dead_letters.queues) if dead_letters is not None else frozenset()
        if dead_letters is not None:
            for name in dead_letters.queues:
                self._subscribe(name, STATE_PREFETCH, partial(_keep, dead_letters.keeper, name))

    @property
    def connected(self) -> bool:
        """Whether every subscriber is consuming, as far as this side knows."""
        connection = self._broker._connection  # noqa: SLF001 - FastStream has no public state of its connection
        if not self.started or connection is None or connection.is_closed:
            return False
        return bool(connection.connected.is_set()) and all(s.running for s in self._subscribers)

    def excused(self, now: float) -> bool:
        """Whether there is a reason for settling nothing: the database is away, or an effect's lease is live."""
        return any(consumer.holding or consumer.lease_ends > now for consumer in self._consumers)

    async def start(self) -> None:
        """Consume. A broker that goes away meanwhile is waited for: the process serves requests all the time."""
        while not self.started:
            try:
                await self._broker.start()
            except BROKER_AWAY as error:
                log.warning("consumers_not_started", error=str(error) or type(error).__name__)
                await self._broker.stop()  # half of the subscribers may have begun
                await asyncio.sleep(1)
            else:
                self.last_settled = time.monotonic()
                self.started = True

    async def drain(self, seconds: float) -> None:
        """Stop the flow first, finish what was begun, hand back the rest, close."""
        for subscriber in self._subscribers:
            queue, tag = subscriber._queue_obj, subscriber._consumer_tag  # noqa: SLF001 - stop() cancels too late
            if queue is not None and tag is not None and not queue.channel.is_closed:
                try:
                    async with asyncio.timeout(2):
                        await queue.cancel(tag)
                except Exception as error:  # noqa: BLE001 - the connection is going away anyway, nothing is lost
                    log.warning("cancel_failed", error=type(error).__name__)
                subscriber._consumer_tag = None  # noqa: SLF001
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("drain_timeout", in_flight=self.in_flight)
        try:
            async with asyncio.timeout(5):
                await self._broker.stop()
        except TimeoutError:
            log.warning("broker_stop_timeout")

    def _subscribe(self, name: str, prefetch: int, settle: Callable[[RabbitMessage], Awaitable[None]]) -> None:
        subscriber = self._broker.subscriber(
            RabbitQueue(name, declare=False),
            channel=Channel(prefetch_count=prefetch),
            ack_policy=AckPolicy.MANUAL,
            decoder=_whole_message,
            no_reply=True,
            title=name,
        )

        async def consume(message: RabbitMessage) -> None:
            await self._consume(name, settle, message)

        subscriber(consume)
        self.queues.append(name)
        self._subscribers.append(subscriber)

    async def _consume(
        self, queue: str, settle: Callable[[RabbitMessage], Awaitable[None]], message: RabbitMessage
    ) -> None:
        self.in_flight += 1
        self._idle.clear()
        try:
            await settle(message)
        except Exception:  # a bug in our own settling
            log.exception("settle_failed", queue=queue, message_id=message.message_id)
            await asyncio.sleep(1)
            if queue in self._ends:
                await message.nack(requeue=True)  # where would it go? RabbitMQ 4.3 counts no nack
            else:
                await message.reject(requeue=True)  # the delivery limit ends it in the dead letters
        else:
            await message.ack()
            self.last_settled = time.monotonic()
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()


async def _deliver(consumer: Consumer[Any], message: RabbitMessage) -> None:
    await consumer.deliver(_envelope(message, consumer.name), message.body)


async def _keep(keeper: Keeper, queue: str, message: RabbitMessage) -> None:
    raw = message.raw_message
    await keeper.keep(read_dead_letter(queue, raw.routing_key or "", _envelope(message, queue), raw.headers, raw.body))


async def _whole_message(message: RabbitMessage) -> RabbitMessage:
    return message


def _envelope(message: RabbitMessage, subscriber: str) -> Envelope:
    raw = message.raw_message
    try:
        message_id = UUID(raw.message_id or "")
    except ValueError:  # a foreign message: its copies shall meet in one row
        message_id = uuid5(NAMESPACE, f"{subscriber}|{raw.message_id}|{message.body.hex()}")
    return read(message_id, raw.type or "unknown", raw.app_id, raw.correlation_id, raw.headers)

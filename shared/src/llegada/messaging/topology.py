"""Exchanges, queues and bindings: data derived from the subscriptions, declared in one step, checked before use.

Every queue is durable and quorum; every queue that dead-letters does so at least once (`reject-publish`). Retries of
all subscribers share one ladder of rungs; the way back goes through a direct exchange with an alternate exchange,
because one unroutable message in a shared rung would stop the rung for everybody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from llegada.events.event import Event
from llegada.messaging.envelope import Lane
from llegada.messaging.retry import RUNGS
from llegada.messaging.subscription import Subscription

EVENTS = "llegada.events"
EVENTS_BULK = "llegada.events.bulk"
REDELIVER = "llegada.redeliver"
DEAD_LETTERS = "llegada.dead-letters"
UNROUTABLE = "llegada.unroutable"

_QUORUM = {"x-queue-type": "quorum"}
_AT_LEAST_ONCE = {**_QUORUM, "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
DELIVERY_LIMIT = 50
"""Guard against messages that kill the process: never unset (4.x: 20), never -1 (3.10: none at all)."""


@dataclass(frozen=True)
class Exchange:
    name: str
    kind: ExchangeType
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Binding:
    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True)
class Topology:
    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


class TopologyError(Exception):
    """The broker lacks something, or has it with other arguments. Nothing may be published before it is mended."""


def queue_name(service: str, action: str, lane: Lane) -> str:
    return f"{service}.{action}" if lane is Lane.INTERACTIVE else f"{service}.{action}.{lane.value}"


def events_exchange(lane: Lane) -> str:
    return EVENTS if lane is Lane.INTERACTIVE else EVENTS_BULK


def dead_letter_queue(service: str) -> str:
    return f"{service}.dead-letters"


def rung_name(delay: timedelta) -> str:
    return f"llegada.retry.{int(delay.total_seconds())}s"


def routing_keys(subscription: Subscription[Any]) -> tuple[str, ...]:
    """The events' type names; `#` for a handler of the base class, which takes every event."""
    return tuple("#" if event is Event else event.type for event in subscription.consumes)


def topology(services: Mapping[str, Iterable[Subscription[Any]]]) -> Topology:
    """Everything that the given services need, the shared parts included."""
    exchanges = [
        Exchange(EVENTS, ExchangeType.TOPIC),
        Exchange(EVENTS_BULK, ExchangeType.TOPIC),
        Exchange(UNROUTABLE, ExchangeType.FANOUT),
        Exchange(REDELIVER, ExchangeType.DIRECT, {"alternate-exchange": UNROUTABLE}),
        Exchange(DEAD_LETTERS, ExchangeType.DIRECT, {"alternate-exchange": UNROUTABLE}),
    ]
    queues = [Queue(UNROUTABLE, _QUORUM)]
    bindings = [Binding(UNROUTABLE, UNROUTABLE, "")]
    for rung in RUNGS:
        name, ttl = rung_name(rung), int(rung.total_seconds() * 1000)
        exchanges.append(Exchange(name, ExchangeType.FANOUT))
        queues.append(Queue(name, {**_AT_LEAST_ONCE, "x-message-ttl": ttl, "x-dead-letter-exchange": REDELIVER}))
        bindings.append(Binding(name, name, ""))
    for service, subscriptions in services.items():
        _add_service(service, subscriptions, queues, bindings)
    return Topology(tuple(exchanges), tuple(queues), tuple(bindings))


def _add_service(
    service: str, subscriptions: Iterable[Subscription[Any]], queues: list[Queue], bindings: list[Binding]
) -> None:
    dead = dead_letter_queue(service)
    queues.append(Queue(dead, _QUORUM))
    bindings.append(Binding(DEAD_LETTERS, dead, service))
    arguments = {
        **_AT_LEAST_ONCE,
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-routing-key": service,
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    for subscription in subscriptions:
        for lane in Lane:
            name = queue_name(service, subscription.action, lane)
            queues.append(Queue(name, arguments))
            bindings.append(Binding(REDELIVER, name, name))
            bindings.extend(Binding(events_exchange(lane), name, key) for key in routing_keys(subscription))


async def declare(channel: AbstractChannel, wanted: Topology) -> None:
    """Bring the broker to `wanted`; what is there already stays. Raises TopologyError where arguments differ."""
    try:
        exchanges = {
            exchange.name: await channel.declare_exchange(
                exchange.name, exchange.kind, durable=True, arguments=dict(exchange.arguments)
            )
            for exchange in wanted.exchanges
        }
        queues = {
            queue.name: await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
            for queue in wanted.queues
        }
        for binding in wanted.bindings:
            await queues[binding.queue].bind(exchanges[binding.exchange], binding.routing_key)
    except ChannelPreconditionFailed as error:
        raise TopologyError(
            f"the broker has this object with other arguments: {error}. Arguments cannot be changed: "
            "let the queue run empty, delete it, and run `llegada topology apply` again"
        ) from error


async def check(channel: AbstractChannel, wanted: Topology) -> None:
    """Passive check that every exchange and queue exists. Raises TopologyError and names the first that does not.

    Bindings cannot be asked for over AMQP; `llegada topology check` asks the management API.
    """
    try:
        for exchange in wanted.exchanges:
            await channel.declare_exchange(exchange.name, exchange.kind, passive=True)
        for queue in wanted.queues:
            await channel.declare_queue(queue.name, passive=True)
    except ChannelNotFoundEntity as error:
        raise TopologyError(f"the broker is not prepared: {error}. Run `llegada topology apply`") from error

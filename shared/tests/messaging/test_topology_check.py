"""Every planted fault is found on a real broker, in a virtual host of the test's own."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel
from sqlalchemy import make_url

from llegada.messaging.topology import (
    DEAD_LETTERS,
    EVENTS,
    REDELIVER,
    UNROUTABLE,
    Topology,
    declare,
    topology,
)
from llegada.messaging.topology_check import Finding, findings, snapshot
from llegada.testing.eventually import eventually

from .conftest import SERVICE, SUBSCRIPTIONS

LINK = f"{SERVICE}.link"
GOOD: dict[str, Any] = {
    "x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
    "x-dead-letter-exchange": DEAD_LETTERS, "x-dead-letter-routing-key": SERVICE, "x-delivery-limit": 50,
}  # fmt: skip
RUNG: dict[str, Any] = {
    "x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
    "x-message-ttl": 4000, "x-dead-letter-exchange": REDELIVER,
}  # fmt: skip


class Broker:
    """A virtual host with the probe worker's topology."""

    def __init__(self, url: str, management: str, channel: AbstractChannel) -> None:
        self.url = url
        self.management = management
        self.channel = channel
        self.wanted: Topology = topology({SERVICE: SUBSCRIPTIONS})
        self.api = httpx.Client(base_url=management, timeout=30)
        self.vhost = quote(urlsplit(url).path.removeprefix("/"), safe="")

    async def found(self) -> list[Finding]:
        return findings(self.wanted, await snapshot(self.management, self.url), [SERVICE])

    async def remake(self, name: str, arguments: dict[str, Any], **more: Any) -> None:
        """The queue with other arguments, and its bindings."""
        await self.channel.queue_delete(name)
        queue = await self.channel.declare_queue(name, durable=more.get("durable", True), arguments=arguments)
        for binding in self.wanted.bindings:
            if binding.queue == name:
                await queue.bind(await self.channel.get_exchange(binding.exchange, ensure=False), binding.routing_key)

    async def exchange(self, name: str, kind: ExchangeType, arguments: dict[str, Any] | None = None) -> None:
        await self.channel.exchange_delete(name)
        exchange = await self.channel.declare_exchange(name, kind, durable=True, arguments=arguments or {})
        for binding in self.wanted.bindings:
            if binding.exchange == name:
                await (await self.channel.get_queue(binding.queue, ensure=False)).bind(exchange, binding.routing_key)

    def policy(self, kind: str, definition: dict[str, Any]) -> None:
        body = {"pattern": f"^{LINK}$", "definition": definition, "apply-to": "queues"}
        self.api.put(f"/api/{kind}/{self.vhost}/planted", json=body).raise_for_status()


@pytest.fixture
def vhost(broker_url: str, management_url: str) -> Iterator[str]:
    """Exchanges and queues of a test's own."""
    name = f"check-{uuid4().hex[:8]}"
    with httpx.Client(base_url=management_url, timeout=30) as api:
        api.put(f"/api/vhosts/{name}").raise_for_status()
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        api.put(f"/api/permissions/{name}/{make_url(broker_url).username}", json=everything).raise_for_status()
        yield make_url(broker_url).set(database=name).render_as_string(hide_password=False)
        api.delete(f"/api/vhosts/{name}").raise_for_status()


@pytest.fixture
async def broker(vhost: str, management_url: str) -> AsyncGenerator[Broker]:
    async with await aio_pika.connect(vhost) as connection:
        made = Broker(vhost, management_url, await connection.channel())
        await declare(made.channel, made.wanted)
        yield made
        made.api.close()


async def test_what_was_just_applied_gives_no_finding(broker: Broker) -> None:
    assert await broker.found() == []


async def missing_queue(b: Broker) -> None:
    await b.channel.queue_delete(LINK)


async def missing_binding(b: Broker) -> None:
    queue = await b.channel.get_queue(LINK, ensure=False)
    await queue.unbind(await b.channel.get_exchange(EVENTS, ensure=False), "reservation.created")


async def missing_exchange(b: Broker) -> None:
    await b.channel.exchange_delete("llegada.retry.4s")


async def wrong_exchange(b: Broker) -> None:
    await b.exchange(EVENTS, ExchangeType.FANOUT)


async def no_alternate_exchange(b: Broker) -> None:
    await b.exchange(REDELIVER, ExchangeType.DIRECT)


async def classic_queue(b: Broker) -> None:
    kept = ("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-overflow")
    await b.remake(LINK, {name: GOOD[name] for name in kept})


async def not_durable(b: Broker) -> None:
    await b.remake(LINK, {}, durable=False)


async def no_dead_letter_exchange(b: Broker) -> None:
    await b.remake(LINK, {"x-queue-type": "quorum", "x-delivery-limit": 50})


async def at_most_once(b: Broker) -> None:
    await b.remake(LINK, {**GOOD, "x-dead-letter-strategy": "at-most-once"})


async def drop_head(b: Broker) -> None:
    await b.remake(LINK, {**GOOD, "x-overflow": "drop-head"})


async def no_delivery_limit(b: Broker) -> None:
    await b.remake(LINK, {name: value for name, value in GOOD.items() if name != "x-delivery-limit"})


async def wrong_time_to_live(b: Broker) -> None:
    await b.remake("llegada.retry.4s", {**RUNG, "x-message-ttl": 400_000})


async def rung_with_a_routing_key(b: Broker) -> None:
    await b.remake("llegada.retry.4s", {**RUNG, "x-dead-letter-routing-key": "llegada.retry.4s"})


async def rung_that_leads_back_to_itself(b: Broker) -> None:
    await b.remake("llegada.retry.4s", {**RUNG, "x-dead-letter-exchange": "llegada.retry.4s"})


async def queue_that_expires(b: Broker) -> None:
    await b.remake(LINK, {**GOOD, "x-expires": 1_800_000})


async def bounded_queue(b: Broker) -> None:
    await b.remake(LINK, {**GOOD, "x-max-length": 1000})


async def message_ttl_by_policy(b: Broker) -> None:
    b.policy("policies", {"message-ttl": 60_000})


async def max_length_by_operator_policy(b: Broker) -> None:
    b.policy("operator-policies", {"max-length": 10})


async def extra_binding(b: Broker) -> None:
    await (await b.channel.get_queue(LINK, ensure=False)).bind(EVENTS, "payment.#")


async def double_path(b: Broker) -> None:
    events = await b.channel.get_exchange(EVENTS, ensure=False)
    await (await b.channel.get_exchange("llegada.events.bulk", ensure=False)).bind(events, "#")


async def foreign_queue(b: Broker) -> None:
    queue = await b.channel.declare_queue("somebodys.debugging", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(EVENTS, "#")


async def orphan(b: Broker) -> None:
    queue = await b.channel.declare_queue(f"{SERVICE}.old-job", durable=True, arguments=GOOD)
    await queue.bind(EVENTS, "reservation.created")


async def unroutable(b: Broker) -> None:
    message = aio_pika.Message(b"{}", message_id=str(uuid4()), delivery_mode=2)
    await b.channel.default_exchange.publish(message, UNROUTABLE)


@pytest.mark.parametrize(
    ("plant", "fault", "said"),
    [
        (missing_queue, "queue-missing", LINK),
        (missing_binding, "binding-missing", "reservation.created"),
        (missing_exchange, "exchange-missing", "llegada.retry.4s"),
        (wrong_exchange, "exchange-kind", "fanout"),
        (no_alternate_exchange, "exchange-argument", "alternate-exchange"),
        (classic_queue, "queue-argument", "'classic'"),
        (not_durable, "queue-not-durable", LINK),
        (no_dead_letter_exchange, "queue-argument", "x-dead-letter-exchange is None"),
        (at_most_once, "queue-argument", "at-most-once"),
        (drop_head, "queue-argument", "drop-head"),
        (no_delivery_limit, "queue-argument", "x-delivery-limit is None"),
        (wrong_time_to_live, "queue-argument", "400000"),
        (rung_with_a_routing_key, "queue-argument", "x-dead-letter-routing-key"),
        (rung_that_leads_back_to_itself, "queue-argument", "x-dead-letter-exchange is 'llegada.retry.4s'"),
        (queue_that_expires, "queue-argument", "x-expires"),
        (bounded_queue, "queue-argument", "x-max-length"),
        (message_ttl_by_policy, "policy", "message-ttl"),
        (max_length_by_operator_policy, "policy", "max-length"),
        (extra_binding, "binding-extra", "payment.#"),
        (double_path, "binding-extra", "llegada.events.bulk"),
        (foreign_queue, "binding-foreign", "somebodys.debugging"),
        (orphan, "queue-orphan", "old-job"),
        (unroutable, "unroutable", "1 messages"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_planted_fault_is_found(
    broker: Broker, plant: Callable[[Broker], Awaitable[None]], fault: str, said: str
) -> None:
    await plant(broker)

    async def seen() -> bool:  # the management API shows policies and counts a moment later
        found = await broker.found()
        return any(f.fault == fault and said in f"{f.object}: {f.what}" for f in found)

    await eventually(seen, 20, f"{fault} is found")
    assert all(f.why and f.remedy for f in await broker.found())

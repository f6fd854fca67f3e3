"""What on the live broker could lose, double, drop or hold a message, compared with what the services need.

Reads the management API (rabbitmq.com/docs/management#http-api). `findings` is pure: it compares two values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import httpx

from llegada.messaging.topology import UNROUTABLE, Queue, Topology

Severity = Literal["error", "warning"]

_APPLY = "run `llegada topology apply`"
_REMAKE = "let the queue run empty, delete it, and run `llegada topology apply`: arguments cannot be changed"
_WHY = {
    "x-queue-type": "only a quorum queue keeps its messages when a node is lost",
    "x-dead-letter-exchange": "what the broker gives up, or what its delay ends for, goes nowhere",
    "x-dead-letter-routing-key": "what is dead-lettered goes to the wrong queue, or back into this one, where RabbitMQ"
    " drops it as a cycle",
    "x-dead-letter-strategy": "dead-lettering at most once loses messages on their way",
    "x-overflow": "anything but reject-publish makes dead-lettering at most once, or drops the oldest messages",
    "x-delivery-limit": "without our limit a message that kills the process comes back for ever (3.x), or is given up"
    " too early (4.x: after 20); -1 gives it up at once",
    "x-message-ttl": "messages leave this queue when their time is up, instead of being worked",
    "x-expires": "the queue is deleted with its messages when nobody uses it for a while",
    "x-max-length": "a full queue drops messages or refuses new ones",
    "x-max-length-bytes": "a full queue drops messages or refuses new ones",
    "alternate-exchange": "what cannot be routed is dropped, and stops a shared delay queue for everybody",
}
_DANGEROUS = {name.removeprefix("x-"): name for name in _WHY if name not in ("x-queue-type", "alternate-exchange")}


@dataclass(frozen=True)
class Finding:
    """One way in which a message could be lost, doubled, dropped or held. `object`: `queue payment-worker.send`."""

    fault: str
    severity: Severity
    object: str
    what: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Snapshot:
    """The broker as the management API shows it, each list as it came."""

    exchanges: Sequence[Mapping[str, Any]]
    queues: Sequence[Mapping[str, Any]]
    bindings: Sequence[Mapping[str, Any]]


_KINDS = ("exchanges", "queues", "bindings")


async def snapshot(management_url: str, amqp_url: str) -> Snapshot:
    """The virtual host of `amqp_url`. Raises httpx.HTTPError where the management API does not answer properly."""
    vhost = quote(urlsplit(amqp_url).path.removeprefix("/") or "/", safe="%")
    async with httpx.AsyncClient(base_url=management_url, timeout=10, trust_env=False) as api:
        found = [(await api.get(f"/api/{kind}/{vhost}")).raise_for_status().json() for kind in _KINDS]
    return Snapshot(*found)


def findings(wanted: Topology, broker: Snapshot, services: Sequence[str]) -> list[Finding]:
    """Nothing where `wanted` was applied to an empty broker. `services` are those whose names the queues begin with."""
    return [
        *_exchanges(wanted, broker),
        *_queues(wanted, broker),
        *_bindings(wanted, broker),
        *_orphans(wanted, broker, services),
        *_resting(broker),
    ]


def _exchanges(wanted: Topology, broker: Snapshot) -> Iterator[Finding]:
    live = {exchange["name"]: exchange for exchange in broker.exchanges}
    for one in wanted.exchanges:
        name, found = f"exchange {one.name}", live.get(one.name)
        if found is None:
            yield Finding("exchange-missing", "error", name, "it does not exist", "nothing can be published", _APPLY)
            continue
        if found["type"] != one.kind.value or not found["durable"]:
            durable = "durable" if found["durable"] else "not durable"
            what = f"it is {found['type']}, {durable}; needed: {one.kind.value}, durable"
            why = "events reach the wrong queues, or none; what is not durable is gone after a restart"
            yield Finding("exchange-kind", "error", name, what, why, f"delete it, and {_APPLY}")
        for argument, value in one.arguments.items():
            if found["arguments"].get(argument) != value:
                what = f"{argument} is {found['arguments'].get(argument)!r}; needed: {value!r}"
                yield Finding("exchange-argument", "error", name, what, _WHY[argument], f"delete it, and {_APPLY}")


def _queues(wanted: Topology, broker: Snapshot) -> Iterator[Finding]:
    live = {queue["name"]: queue for queue in broker.queues}
    for one in wanted.queues:
        name, found = f"queue {one.name}", live.get(one.name)
        if found is None:
            why = "events for it are dropped as if nobody wanted them"
            yield Finding("queue-missing", "error", name, "it does not exist", why, _APPLY)
            continue
        if not found["durable"]:
            why = "it is gone after a restart of the broker"
            yield Finding("queue-not-durable", "error", name, "it is not durable", why, _REMAKE)
        if found.get("state", "running") not in ("running", "idle", "flow"):
            why = "it takes and gives nothing until a majority of its replicas is back"
            remedy = "look at the broker's nodes and logs"
            yield Finding("queue-down", "error", name, f"its state is {found['state']}", why, remedy)
        yield from _arguments(one, found)
        yield from _policy(one, found)


def _arguments(wanted: Queue, found: Mapping[str, Any]) -> Iterator[Finding]:
    arguments = {"x-queue-type": found.get("type"), **found["arguments"]}
    for argument in sorted({*wanted.arguments, *(name for name in arguments if name in _WHY)}):
        needed, value = wanted.arguments.get(argument), arguments.get(argument)
        if needed != value:
            what = f"{argument} is {value!r}; needed: {needed!r}"
            why = _WHY.get(argument, "it is not what the services were tested with")
            yield Finding("queue-argument", "error", f"queue {wanted.name}", what, why, _REMAKE)


def _policy(wanted: Queue, found: Mapping[str, Any]) -> Iterator[Finding]:
    """A policy cannot override an argument, but fills in what is not given, and the stricter number counts."""
    effective = found.get("effective_policy_definition") or {}
    for key, value in sorted(effective.items() if isinstance(effective, dict) else ()):
        argument = _DANGEROUS.get(key)
        if argument is not None and wanted.arguments.get(argument) != value:
            by = " and ".join(str(found[which]) for which in ("policy", "operator_policy") if found.get(which))
            what = f"the policy {by or '?'} sets {key} to {value!r}"
            remedy = "narrow the policy's pattern, so that it does not match queues of Llegada"
            yield Finding("policy", "error", f"queue {wanted.name}", what, _WHY[argument], remedy)


def _bindings(wanted: Topology, broker: Snapshot) -> Iterator[Finding]:
    ours = {exchange.name for exchange in wanted.exchanges}
    queues = {queue.name for queue in wanted.queues}
    needed = {(b.exchange, b.queue, b.routing_key) for b in wanted.bindings}
    live = [b for b in broker.bindings if b["source"] in ours]
    there = {(b["source"], b["destination"], b["routing_key"]) for b in live if b["destination_type"] == "queue"}
    for source, queue, key in sorted(needed - there):
        why = "these messages never reach the queue, and nobody is told"
        yield Finding(
            "binding-missing", "error", f"queue {queue}", f"no binding from {source} with {key!r}", why, _APPLY
        )
    for b in live:
        source, destination, key = b["source"], b["destination"], b["routing_key"]
        remedy = f"remove the binding from {source} with {key!r}"
        if b["destination_type"] == "exchange":
            why = "messages may take two ways, or go round in a cycle and be dropped"
            yield Finding("binding-extra", "error", f"exchange {destination}", f"it is bound to {source}", why, remedy)
        elif destination in queues and (source, destination, key) not in needed:
            why = "its consumer gets what it does not know (dead letters), or the same message by two ways"
            what = f"an extra binding from {source} with {key!r}"
            yield Finding("binding-extra", "error", f"queue {destination}", what, why, remedy)
        elif destination not in queues:
            why = "it gets copies of events that no installed service reads; guests' data lies in it"
            what = f"a foreign queue is bound to {source} with {key!r}"
            yield Finding("binding-foreign", "warning", f"queue {destination}", what, why, remedy)


def _orphans(wanted: Topology, broker: Snapshot, services: Sequence[str]) -> Iterator[Finding]:
    known = {queue.name for queue in wanted.queues}
    bound = {b["destination"] for b in broker.bindings if b["source"] and b["destination_type"] == "queue"}
    for queue in broker.queues:
        name = queue["name"]
        if name in known or not name.startswith(("llegada.", *(f"{service}." for service in services))):
            continue
        what = f"no installed service has it; {queue.get('messages', 0)} messages lie in it"
        why = "it fills for ever: nobody reads it" if name in bound else "what lies in it is never worked"
        remedy = "wait until the longest delay queue has run empty, move what lies in it, then delete it"
        yield Finding("queue-orphan", "error" if name in bound else "warning", f"queue {name}", what, why, remedy)


def _resting(broker: Snapshot) -> Iterator[Finding]:
    for queue in broker.queues:
        count = queue.get("messages", 0)
        if queue["name"] == UNROUTABLE and count and not queue.get("consumers"):
            why = "they came back for a queue that is gone, and nobody stores them"
            remedy = "start the service that keeps dead letters; it stores them, and they can be replayed"
            yield Finding("unroutable", "warning", f"queue {UNROUTABLE}", f"{count} messages lie in it", why, remedy)

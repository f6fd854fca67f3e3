"""Who may do what on the broker: one user per service, with just the rights that its subscriptions need.

Derived from the subscriptions like the topology; RabbitMQ's access control is three regular expressions per user and
virtual host, and one per topic exchange for routing keys (rabbitmq.com/docs/access-control). Deployment adds passwords.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llegada.events.event import Event, event_types
from llegada.events.job import JobEvent
from llegada.messaging.envelope import Lane
from llegada.messaging.retry import RUNGS
from llegada.messaging.subscription import Subscription
from llegada.messaging.topology import (
    DEAD_LETTERS,
    EVENTS,
    EVENTS_BULK,
    UNROUTABLE,
    dead_letter_queue,
    queue_name,
    rung_name,
)

TOPOLOGY_USER = "llegada-topology"
"""The release's: declares exchanges, queues and bindings; no service has this right."""
OPERATORS_USER = "llegada-operators"
"""The console's: sees everything, touches nothing."""
DEFAULT_EXCHANGE = "amq.default"
"""The name under which RabbitMQ checks the right to publish to a queue directly."""
_NOTHING = "^$"
_MOST_CONNECTIONS, _MOST_CHANNELS = 200, 4000
_MOST_CONNECTIONS_OF_ALL, _MOST_QUEUES = 2000, 1000


@dataclass(frozen=True)
class BrokerRights:
    """`topics`: topic exchange → which routing keys may be published there; one that is missing has no limit."""

    user: str
    configure: str = _NOTHING
    write: str = _NOTHING
    read: str = _NOTHING
    topics: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


def broker_rights(services: Mapping[str, tuple[Iterable[Subscription[Any]], bool]]) -> list[BrokerRights]:
    """`services`: name → its subscriptions, and whether it is the one that keeps dead letters and serves requests."""
    known = {name: tuple(subscriptions) for name, (subscriptions, _) in services.items()}
    made = [
        _keeper(name, known) if keeps else _worker(name, known[name]) for name, (_, keeps) in sorted(services.items())
    ]
    ours = rf"^({'|'.join(map(re.escape, ['llegada', *sorted(services)]))})\..+$"
    return [
        *made,
        BrokerRights(TOPOLOGY_USER, configure=ours, write=ours, read=ours),
        BrokerRights(OPERATORS_USER, tags=("monitoring",)),
    ]


def _worker(name: str, subscriptions: tuple[Subscription[Any], ...]) -> BrokerRights:
    """Reads its queues, writes to the events' exchanges, the ladder and the dead letters; declares nothing."""
    published = {event for subscription in subscriptions for event in subscription.publishes}
    published |= {event for event in event_types().values() if issubclass(event, JobEvent)}
    keys = _exactly(_key(event) for event in published)
    return BrokerRights(
        name,
        write=_exactly(_exchanges()),
        read=_exactly(_queues(name, subscriptions)),
        topics={EVENTS: keys, EVENTS_BULK: keys},
    )


def _keeper(name: str, services: Mapping[str, tuple[Subscription[Any], ...]]) -> BrokerRights:
    """Also reads what is dead, publishes whatever people and webhooks cause, and replays into the queue that failed.
    `management`: it shows what stands in the queues.
    """
    dead = [*map(dead_letter_queue, services), UNROUTABLE]
    return BrokerRights(
        name,
        write=_exactly([*_exchanges(), DEFAULT_EXCHANGE]),
        read=_exactly([*_queues(name, services[name]), *dead]),
        tags=("management",),
    )


def _exchanges() -> list[str]:
    return [EVENTS, EVENTS_BULK, DEAD_LETTERS, *map(rung_name, RUNGS)]


def _queues(name: str, subscriptions: Iterable[Subscription[Any]]) -> list[str]:
    return [queue_name(name, subscription.action, lane) for subscription in subscriptions for lane in Lane]


def _key(event: type[Event]) -> str:
    return event.type


def _exactly(names: Iterable[str]) -> str:
    return f"^({'|'.join(map(re.escape, sorted(set(names))))})$"


def definitions(rights: Iterable[BrokerRights], vhost: str, passwords: Mapping[str, str]) -> dict[str, Any]:
    """RabbitMQ's definitions file (rabbitmq.com/docs/definitions). KeyError where a user has no password.

    Limits are guards against a client that opens connections in a loop, far above what a large installation needs.
    The policy only spreads queues' leaders over the nodes: what could lose a message stays an argument of the queue.
    """
    rights = list(rights)
    return {
        "vhosts": [{"name": vhost, "description": "Llegada: events of the front desk", "tags": []}],
        "users": [_user(one, passwords[one.user]) for one in rights],
        "permissions": [
            {"user": r.user, "vhost": vhost, "configure": r.configure, "write": r.write, "read": r.read} for r in rights
        ],
        "topic_permissions": [
            {"user": r.user, "vhost": vhost, "exchange": exchange, "write": keys, "read": _NOTHING}
            for r in rights
            for exchange, keys in sorted(r.topics.items())
        ],
        "policies": [
            {
                "vhost": vhost,
                "name": "llegada-leaders",
                "pattern": ".*",
                "apply-to": "queues",
                "priority": 0,
                "definition": {"queue-leader-locator": "balanced"},
            }
        ],
        "parameters": [
            {
                "component": "vhost-limits",
                "name": "limits",
                "vhost": vhost,
                "value": {"max-connections": _MOST_CONNECTIONS_OF_ALL, "max-queues": _MOST_QUEUES},
            }
        ],
    }


def _user(rights: BrokerRights, password: str) -> dict[str, Any]:
    return {
        "name": rights.user,
        "password_hash": password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(rights.tags),
        "limits": {"max-connections": _MOST_CONNECTIONS, "max-channels": _MOST_CHANNELS},
    }


def password_hash(password: str, salt: bytes | None = None) -> str:
    """Salted SHA-256 as RabbitMQ stores it (rabbitmq.com/docs/passwords)."""
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()

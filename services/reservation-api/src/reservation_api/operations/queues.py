"""What stands in the queues: the broker says what waits and is worked, each service's inbox what became of it."""

import time
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from sqlalchemy import text

from llegada.messaging.envelope import Lane
from llegada.messaging.topology import queue_name
from llegada.messaging.transaction import Database
from llegada.runtime.discovery import installed
from llegada.runtime.service import Resources

_INBOX = """
select subscriber,
       count(*) filter (where outcome in ('retrying', 'waiting') and next_try_at > now()) as delayed,
       count(*) filter (where outcome in ('done', 'skipped') and settled_at > now() - interval '24 hours') as completed,
       count(*) filter (where outcome = 'dead') as failed
from {schema}.inbox where settled_at > now() - interval '7 days' group by subscriber
"""
_OUTBOX = """
select count(*) as rows, coalesce(extract(epoch from now() - min(created_at)), 0)::float as oldest from {schema}.outbox
"""


async def stats(resources: Resources) -> dict[str, Any]:
    """Queues by name, outboxes by service, and whether the broker answers; its numbers are null while it does not."""
    broker, live = await _broker(resources)
    queues: list[dict[str, Any]] = []
    outboxes: dict[str, Any] = {}
    for name, service in installed().items():
        settled, outboxes[name] = await _schema(resources.database, resources.schemas[name])
        for subscription in service.subscriptions:
            for lane in Lane:
                queue = queue_name(name, subscription.action, lane)
                queues.append(_queue(queue, live.get(queue), settled.get(queue, {})))
    return {"queues": queues, "outbox": outboxes, "broker": broker}


async def _schema(database: Database, schema: str) -> tuple[dict[str, dict[str, int]], dict[str, Any]]:
    async with database.engine.connect() as connection:
        inbox = (await connection.execute(text(_INBOX.format(schema=schema)))).mappings().all()
        outbox = (await connection.execute(text(_OUTBOX.format(schema=schema)))).mappings().one()
    waiting = {"waiting": outbox["rows"], "oldestSeconds": round(outbox["oldest"], 1)}
    return {row["subscriber"]: dict(row) for row in inbox}, waiting


async def _broker(resources: Resources) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    url = resources.settings.rabbitmq_management_url
    amqp = resources.settings.amqp_url
    if url is None or amqp is None:
        return {"reachable": None, "version": None}, {}
    vhost = quote(urlsplit(amqp.get_secret_value()).path.strip("/") or "/", safe="")
    try:
        async with httpx.AsyncClient(base_url=url.get_secret_value(), timeout=1.0, trust_env=False) as api:
            overview = (await api.get("/api/overview")).raise_for_status().json()
            found = (await api.get(f"/api/queues/{vhost}")).raise_for_status().json()
    except httpx.HTTPError:
        return {"reachable": False, "version": None}, {}
    return {"reachable": True, "version": overview["rabbitmq_version"]}, {queue["name"]: queue for queue in found}


def _queue(name: str, live: dict[str, Any] | None, settled: dict[str, int]) -> dict[str, Any]:
    """`oldestAgeSeconds` is the broker's, where it knows it: RabbitMQ does not for quorum queues of every version."""
    head = None if live is None else live.get("head_message_timestamp")
    return {
        "name": name,
        "waiting": None if live is None else live.get("messages_ready", 0),
        "active": None if live is None else live.get("messages_unacknowledged", 0),
        "consumers": None if live is None else live.get("consumers", 0),
        "delayed": settled.get("delayed", 0),
        "completed": settled.get("completed", 0),
        "failed": settled.get("failed", 0),
        "oldestAgeSeconds": round(time.time() - head) if isinstance(head, int) else None,
    }

"""The judge: what was accepted against the sandbox's ledger, once nothing is in motion any more."""

import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, LiteralString

import httpx
import psycopg
from tests.crash.result import Result

from llegada.events.event import Event
from llegada.runtime.discovery import installed
from llegada_dev.cluster import installed_services
from llegada_dev.infrastructure import say
from llegada_dev.system import System

STILL = 11.0
"""Seconds without any change that count as rest: the broker tells its queues' lengths every five."""
_REFERENCE = re.compile(r"reservation-(\d+)-payment-link-")
_JOURNAL = """
create schema if not exists crash;
create table if not exists crash.handled (subscriber text, message_id uuid, type text);
grant usage on schema crash to public; grant select, insert on crash.handled to public;
truncate crash.handled
"""
_TWICE = """
select count(*) from (select from crash.handled group by subscriber, message_id having count(*) > 1) as twice
"""
_BY_TYPE = "select type, count(distinct message_id) from crash.handled group by type"
_BY_SUBSCRIBER = "select subscriber, type, count(distinct message_id) from crash.handled group by subscriber, type"


def query(made: System, statement: LiteralString, *arguments: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(made.infrastructure.database_url, connect_timeout=10) as connection:
        return connection.execute(statement, arguments).fetchall()


def open_journal(made: System) -> None:
    """Where the children note, in the same transaction, which message each state change handled.

    Not unlogged: a killed database empties such a table.
    """
    with psycopg.connect(made.infrastructure.database_url) as connection:
        connection.execute(_JOURNAL)


def last_id(made: System) -> int:
    return int(query(made, "select coalesce(max(id), 0) from reservation_api.reservations")[0][0])


def effects_of(made: System) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{made.sandbox}/_sandbox/effects", timeout=120, trust_env=False).json()
    return found


def judge(made: System, ids: Sequence[int], after: int = 0) -> Result:
    """`ids`: what was accepted since reservation `after`, when the ledger was empty."""
    rows = query(made, "select id, guest_phone, payment_link from reservation_api.reservations where id > %s", after)
    effects = effects_of(made)
    result = Result(len(ids))
    result.lost_reservations = len(set(ids) - {row[0] for row in rows})
    result.doubled_reservations = len(rows) - len(set(ids) & {row[0] for row in rows})

    urls = {e["url"] for e in effects if e["provider"] == "bold"}
    links = Counter(int(_REFERENCE.findall(e["reference"])[0]) for e in effects if e["provider"] == "bold")
    unknown = _unknown(made, "payment_worker", after)
    result.unknown_links = sum(unknown.values())
    result.lost_links = sum(row[2] not in urls for row in rows)
    result.orphan_links, result.explained_links = beyond(links, unknown, (row[0] for row in rows))

    by_phone = {row[1].removeprefix("+"): row[0] for row in rows}
    sent = [e["recipient"] for e in effects if e["provider"] == "whatsapp"]
    messages = Counter(by_phone.get(recipient, recipient) for recipient in sent)
    unknown = _unknown(made, "notification_worker", after)
    result.unknown_messages = sum(unknown.values())
    result.lost_messages = sum(row[0] not in messages for row in rows)
    result.doubled_messages, result.explained_messages = beyond(messages, unknown, by_phone.values())

    if query(made, "select to_regclass('crash.handled') is not null")[0][0]:
        result.handled_twice = int(query(made, _TWICE)[0][0])
        result.handled, result.lost_deliveries = deliveries(dict(query(made, _BY_TYPE)), query(made, _BY_SUBSCRIBER))
    return result


def deliveries(by_type: dict[str, int], by_subscriber: Iterable[tuple[str, str, int]]) -> tuple[int, int]:
    """Deliveries that changed state, and those that are missing: what one subscriber handled, all of its type must."""
    found = {(subscriber, event): count for subscriber, event, count in by_subscriber}
    missing = {pair: by_type[pair[1]] - found.get(pair, 0) for pair in meant(by_type)}
    for (subscriber, event), count in missing.items():
        if count:
            say(f"{subscriber} missed {count} of {by_type[event]} {event}")
    return sum(found.values()), sum(missing.values())


def meant(types: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Who changes its state on which of these events, as the services' subscriptions say."""
    for service in installed().values():
        for subscription in service.subscriptions:
            if not subscription.has_effect:
                consumed = {event.type for event in subscription.consumes if event is not Event}
                wanted = types if Event in subscription.consumes else consumed.intersection(types)
                yield from ((f"{service.name}.{subscription.action}", event) for event in wanted)


def _unknown(made: System, schema: LiteralString, after: int) -> dict[int, int]:
    """Logged unknown outcomes, by reservation."""
    statement: LiteralString = (
        "select split_part(subject, '/', 2)::bigint, sum(unknown_outcomes)::int from "
        + schema
        + ".effects where subject like 'reservation/%%' and split_part(subject, '/', 2)::bigint > %s group by 1"
    )
    return dict(query(made, statement, after))


def beyond(made: Counter[Any], unknown: dict[int, int], wanted: Iterable[int]) -> tuple[int, int]:
    """Effects beyond one for each that was wanted, and how many of them logged unknown outcomes explain."""
    beyond = made - Counter(dict.fromkeys(wanted, 1))
    return beyond.total(), sum(min(count, unknown.get(key, 0)) for key, count in beyond.items())


def at_rest(made: System, patience: float, queues: Collection[str] | None = None) -> bool:
    """Wait until nothing moves: outboxes and queues empty, no change for a while. False if that never comes.

    `queues`: only these, where nobody may consume the others yet.
    """
    deadline, since, before = time.monotonic() + patience, time.monotonic(), None
    while time.monotonic() < deadline:
        made.cluster.restart_dead()
        now = _motion(made, queues)
        if now is None or now != before:
            since, before = time.monotonic(), now
        elif time.monotonic() - since > STILL:
            return True
        time.sleep(0.5)
    return False


def _motion(made: System, known: Collection[str] | None) -> tuple[int, ...] | None:
    """Numbers that change when something happens; None while messages wait anywhere."""
    try:
        columns = {"columns": "name,messages"}
        queues = httpx.get(f"{made.infrastructure.management}/api/queues", params=columns, timeout=20).json()
        waiting = [queue["name"] for queue in queues if queue.get("messages", 1)]  # none told: not counted yet
        if any(known is None or name in known for name in waiting):
            return None
        if not all_published(made):
            return None
        counts = _of_each(made, "select count(*) from {}.inbox")
    except (httpx.HTTPError, psycopg.OperationalError):
        return None
    return tuple(counts)


def all_published(made: System) -> bool:
    """Whether every service's outbox is empty."""
    return not any(_of_each(made, "select count(*) from (select from {}.outbox limit 1) as waiting"))


def _of_each(made: System, statement: str) -> list[int]:
    """What the statement counts in each service's schema."""
    with psycopg.connect(made.infrastructure.database_url, connect_timeout=10) as connection:
        statements = [statement.format(name.replace("-", "_")) for name in installed_services()]
        rows = [connection.execute(s.encode()).fetchone() for s in statements]
    return [int(row[0]) for row in rows if row]

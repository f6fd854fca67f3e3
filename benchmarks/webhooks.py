"""How fast providers' webhooks are answered while all workers run, and that forged ones change nothing.

    python -m benchmarks.webhooks [--rate 100] [--seconds 20] [--rounds 3] [--forged 1000] [--write]

The reservations are made before, and everything about them has come to rest. Each then gets four webhooks, correctly
signed, in the order of a shuffled pack: delivered, read, a message of the guest, a payment. Providers have no latency.
What counts is the median of the rounds: one is as good as the machine happens to be.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from benchmarks.run import Load, connected, create, drained, loop_seconds, stage

from llegada_dev.cluster import API, ROOT
from llegada_dev.system import DEMO_SETTINGS, UNLIMITED, System
from llegada_dev.tokens import ORGANIZATION
from provider_sandbox.webhooks import bold_signature, encoded, whatsapp_signature
from provider_sandbox.whatsapp_webhooks import Inbound, Message, batched, inbound_webhook, status_webhook

NUMBER, APP_SECRET, BOLD_SECRET = "1000000001", "demo-app-secret", "demo-bold-secret"
"""As in the services' dev.env."""
REPLIES = [{"keywords": ["wifi"], "texts": {"es": "Hola {{guestName}}, la clave es 1234"}}]
"""Every second message is answered by this rule, the others are handed to staff: both ways have their work."""
WARM = 40
"""Webhooks before the measured ones: connections and caches."""

_WEIGHTED = """
Where cores are short, the API and the load generator (which is none of the system's) get six times the share of
a worker, as CPU requests share a node in a cluster (docs/decisions/0041).
"""
_GUESTS = """
select l.reservation_id, l.reference, r.amount, r.guest_phone, e.reference_list[1], e.receipt ->> 'provider_message_id'
from payment_worker.links l
join reservation_api.reservations r on r.id = l.reservation_id
join notification_worker.effects e on e.subject = 'reservation/' || r.id and e.kind = 'confirmation-whatsapp'
order by l.reservation_id
"""
_OPEN = """
select (select count(*) from reservation_api.reservations where payment_status = 'pending')
     + (select count(*) from reservation_api.guest_messages where state = 'received')
     + (select count(*) from reservation_api.reservations)
     - (select count(*) from reservation_api.timeline where type = 'notification.read')
     + (select count(*) from reservation_api.reservations)
     - (select count(*) from reservation_api.timeline where type = 'guest.message_received')
"""
"""What has not come through yet: payments, answers, receipts, messages in the timeline."""
_TABLES = """
select schemaname, tablename from pg_tables
where schemaname like '%\\_api' or schemaname like '%\\_worker' order by 1, 2
"""
_DIGEST = """select md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) from "{schema}"."{table}" t"""
_OF_ITSELF = {"relay_heartbeat"}
"""Changes while nothing happens."""


@dataclass(frozen=True)
class Guest:
    """A booking that webhooks can be about. `key`: our reference of its message at WhatsApp."""

    reservation: int
    reference: str
    amount: int
    phone: str
    key: str
    message: str


@dataclass(frozen=True)
class Webhook:
    kind: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Forgeries:
    """`changed`: tables and sequences that are not as before; `statuses`: answer → how often."""

    statuses: dict[int, int]
    changed: list[str]
    compared: int


def bold(guest: Guest, kind: str, number: str) -> Webhook:
    """As Bold sends it (developers.bold.co/webhook)."""
    amount = {"currency": "COP", "total": guest.amount, "taxes": [], "tip": 0}
    data = {"payment_id": f"P-{number}", "merchant_id": "SANDBOX", "amount": amount, "payment_method": "CARD_WEB"}
    payload: dict[str, Any] = {
        "id": f"E-{number}",
        "type": kind,
        "subject": f"P-{number}",
        "source": "/payments/links",
        "spec_version": "1.0",
        "time": time.time_ns(),
        "data": {**data, "metadata": {"reference": guest.reference}},
    }
    body = encoded(payload)
    return Webhook(kind, "/api/webhooks/bold", body, {"x-bold-signature": bold_signature(BOLD_SECRET, body)})


def whatsapp(kind: str, payload: dict[str, Any]) -> Webhook:
    body = encoded(payload)
    return Webhook(kind, "/api/webhooks/whatsapp", body, {"x-hub-signature-256": whatsapp_signature(APP_SECRET, body)})


def about(guest: Guest, number: int, run: str) -> list[Webhook]:
    """The four webhooks of one guest."""
    sent = Message(guest.message, NUMBER, guest.phone.removeprefix("+"), guest.key)
    text = "¿Cuál es la clave del WiFi?" if number % 2 else "¿Puedo llegar a las once?"
    written = {"from": guest.phone, "text": text, "phone_number_id": NUMBER, "message_id": f"wamid.{run}{number}"}
    return [
        whatsapp("delivered", status_webhook(sent, "delivered", 0)),
        whatsapp("read", status_webhook(sent, "read", 0)),
        whatsapp("message", inbound_webhook(Inbound.model_validate(written))),
        bold(guest, "SALE_APPROVED", f"{run}-{number}"),
    ]


async def opened(made: System) -> None:
    """The house has answers of its own."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {made.admin_token}"}) as admin:
        settings = {**DEMO_SETTINGS, "replies": REPLIES}
        async with admin.put(f"{made.api}/api/organizations/{ORGANIZATION}/settings", json=settings) as answer:
            answer.raise_for_status()


async def ready(made: System, count: int, before: int) -> list[Guest]:
    """So many more bookings than there were before, each with its link and its message, and nothing left to do."""
    await create(made, count, at_once=5, first=before)
    await drained(made, 300)
    rows = await asyncio.to_thread(_rows, made, _GUESTS)
    assert len(rows) == before + count, f"{len(rows)} of {before + count} bookings have a link and a message"
    return [Guest(*row) for row in rows[before:]]


async def _let_them_write(made: System, guests: Sequence[Guest]) -> None:
    """WhatsApp has to know that they wrote, or it takes no answer to them: the event alone, without its webhook."""
    written = [{"from": guest.phone, "text": "wifi", "phone_number_id": NUMBER} for guest in guests]
    order = {"provider": "whatsapp", "events": written}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{made.sandbox}/_sandbox/webhooks", json=order) as answer,
    ):
        answer.raise_for_status()


async def steady(made: System, webhooks: Sequence[Webhook], rate: int) -> Load:
    """Webhooks at fixed times, whatever the answers do (no coordinated omission)."""
    answers: list[float] = []
    async with connected(made) as client:
        warm = await asyncio.gather(*(_answer(client, webhook) for webhook in webhooks[:WARM]))
        assert set(warm) == {200}, warm
        start = time.perf_counter()

        async def at(number: int, webhook: Webhook) -> None:
            due = start + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            status = await _answer(client, webhook)
            assert status == 200, f"{webhook.kind}: {status}"
            answers.append(time.perf_counter() - due)

        await asyncio.gather(*(at(number, webhook) for number, webhook in enumerate(webhooks[WARM:])))
    ended = time.perf_counter()
    await _come_through(made)
    return Load(answers, sum(a > 0.05 for a in answers), 0, time.perf_counter() - ended)


async def _answer(client: aiohttp.ClientSession, webhook: Webhook) -> int:
    headers = {**webhook.headers, "content-type": "application/json"}
    async with client.post(webhook.path, data=webhook.body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def _come_through(made: System, seconds: float = 120) -> None:
    """Until every webhook has had its whole effect."""
    deadline = time.perf_counter() + seconds
    while (left := (await asyncio.to_thread(_rows, made, _OPEN))[0][0]) != 0:
        if time.perf_counter() > deadline:
            raise AssertionError(f"{left} effects of webhooks are missing after {seconds} s")
        await asyncio.sleep(0.1)
    await drained(made, seconds)


def forgeries(guests: Sequence[Guest], count: int) -> list[Webhook]:
    """Webhooks that would change something if they were believed; wrong in each way that an attacker's would be."""
    found: list[Webhook] = []
    for number in range(count):
        guest = guests[number % len(guests)]
        sent = Message(guest.message, NUMBER, guest.phone.removeprefix("+"), guest.key)
        text = {"from": guest.phone, "text": "wifi", "phone_number_id": NUMBER, "message_id": f"wamid.forged{number}"}
        inbound = inbound_webhook(Inbound.model_validate(text))
        failed = status_webhook(sent, "failed", 131026)
        real = (
            bold(guest, "VOID_APPROVED", f"forged-{number}")
            if number % 2
            else whatsapp("batch", batched([inbound, failed]))
        )
        found.append(_forged(real, number // 2 % 4))
    return found


def _forged(real: Webhook, way: int) -> Webhook:
    (name, signature), *_ = real.headers.items()
    other = bold_signature if name == "x-bold-signature" else whatsapp_signature
    match way:
        case 0:
            return Webhook(real.kind, real.path, real.body, {name: other("another-key", real.body)})
        case 1:
            return Webhook(real.kind, real.path, real.body, {name: other("", real.body)})
        case 2:
            return Webhook(real.kind, real.path, real.body, {})
        case _:
            body = json.dumps({**json.loads(real.body), "altered": True}).encode()
            return Webhook(real.kind, real.path, body, {name: signature})


async def attacked(made: System, webhooks: Sequence[Webhook]) -> Forgeries:
    """Send them, and compare every table, every sequence and the providers' ledger with before."""
    statuses: dict[int, int] = {}
    before = await _at_rest(made)
    gate = asyncio.Semaphore(20)
    async with connected(made) as client:

        async def one(webhook: Webhook) -> None:
            async with gate:
                status = await _answer(client, webhook)
            statuses[status] = statuses.get(status, 0) + 1

        await asyncio.gather(*(one(webhook) for webhook in webhooks))
        # Whatever was believed stands in the outbox before its answer, and has drawn from the outbox's sequence.
        return Forgeries(statuses, _differences(before, await _state(made)), len(before))


async def _at_rest(made: System, seconds: float = 60) -> dict[str, str]:
    """The state once nothing changes any more: two looks, a second apart, see the same."""
    deadline, before = time.perf_counter() + seconds, await _state(made)
    while True:
        await asyncio.sleep(1)
        after = await _state(made)
        if before == after:
            return after
        if time.perf_counter() > deadline:
            raise AssertionError(f"still changing after {seconds} s: {_differences(before, after)}")
        before = after


async def _state(made: System) -> dict[str, str]:
    """Table → what it holds, sequence → where it stands, and the number of effects at the providers."""

    def stored() -> dict[str, str]:
        found = {}
        with psycopg.connect(made.infrastructure.database_url) as connection:
            for schema, table in connection.execute(_TABLES.encode()).fetchall():
                if table not in _OF_ITSELF:
                    row = connection.execute(_DIGEST.format(schema=schema, table=table).encode()).fetchone()
                    found[f"{schema}.{table}"] = str(row and row[0])
            sequences = "select schemaname || '.' || sequencename, coalesce(last_value, 0) from pg_sequences"
            found |= {name: str(value) for name, value in connection.execute(sequences.encode()).fetchall()}
        return found

    state = await asyncio.to_thread(stored)
    async with aiohttp.ClientSession() as client, client.get(f"{made.sandbox}/_sandbox/effects") as answer:
        return {**state, "effects at the providers": str(len(await answer.json()))}


def _differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _rows(made: System, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(made.infrastructure.database_url) as connection:
        return connection.execute(statement.encode()).fetchall()


async def measured(made: System, rate: int, seconds: int, rounds: int, forged: int) -> tuple[list[Load], Forgeries]:
    count, loads, guests = (rate * seconds + WARM + 3) // 4, list[Load](), list[Guest]()
    await opened(made)
    for number in range(rounds):
        guests = await ready(made, count, number * count)
        run = f"{int(datetime.now(UTC).timestamp()):x}"
        await _let_them_write(made, guests)
        webhooks = [webhook for number, guest in enumerate(guests) for webhook in about(guest, number, run)]
        random.Random(1).shuffle(webhooks)
        loads.append(await steady(made, webhooks, rate))
    return loads, await attacked(made, forgeries(guests, forged))


def _over_rounds(values: Sequence[float], unit: str) -> str:
    return f"{statistics.median(values):.1f} {unit} | {min(values):.1f} to {max(values):.1f} {unit}"


def report(loads: Sequence[Load], forged: Forgeries, rate: int, seconds: int, *, weights: bool) -> str:
    answers = ", ".join(f"{count} × {status}" for status, count in sorted(forged.statuses.items()))
    changed = ", ".join(forged.changed) or "nothing"
    arguments = '"--weights --write"' if weights else "--write"
    return "\n".join(
        [
            f"# Benchmark: webhooks{', with CPU weights' if weights else ''}",
            "",
            f"Written by `make bench-webhooks ARGS={arguments}`; two cores shared by broker, database, sandbox, all",
            "services and the load generator. For comparison, ten million additions in a Python loop take",
            f"{loop_seconds():.1f} s on the machine that wrote this.",
            *(_WEIGHTED.splitlines() if weights else []),
            "",
            f"## {rate} webhooks/s for {seconds} s, while all workers run",
            "",
            "Half are statuses of WhatsApp messages, a quarter messages of guests, a quarter payments at Bold; each is",
            "signed, is news, and is about a booking that was made before and had come to rest. The time counts from",
            "the moment at which the webhook was due.",
            "",
            f"| answers | median of {len(loads)} rounds | all |",
            "|---|---|---|",
            *(
                f"| p{share * 100:.0f} | {_over_rounds([load.quantile(share) * 1000 for load in loads], 'ms')} |"
                for share in (0.5, 0.95, 0.99)
            ),
            f"| worst | {_over_rounds([max(load.answers) * 1000 for load in loads], 'ms')} |",
            f"| over 50 ms | {_over_rounds([load.late / len(load.answers) * 100 for load in loads], '%')} |",
            f"| after the last one, every effect is there within | {_over_rounds([x.drained for x in loads], 's')} |",
            "",
            "## Forged ones",
            "",
            "Wrong key, empty key, no signature, body altered after it was signed; each would change something if it",
            "were believed.",
            "",
            "| | |",
            "|---|---|",
            f"| answers | {answers} |",
            f"| tables and sequences compared | {forged.compared} |",
            f"| changed | {changed} |",
            "",
        ]
    )


def weigh(*pids: int) -> None:
    """Give these processes six times a worker's share where cores are short (sched(7), autogroup)."""
    for pid in pids:
        Path(f"/proc/{pid}/autogroup").write_text("-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=100, help="webhooks a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forged", type=int, default=1000)
    parser.add_argument("--weights", action="store_true", help="CPU weights as a cluster's requests are (root, Linux)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmark-webhooks.md, or …-weights.md")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        made = stage(stack, queue=True, latency="0", more={"QUEUE_CONCURRENCY": "20", **UNLIMITED})
        if chosen.weights:
            weigh(made.cluster.pids()[API], os.getpid())
        loads, forged = asyncio.run(measured(made, chosen.rate, chosen.seconds, chosen.rounds, chosen.forged))
    table = report(loads, forged, chosen.rate, chosen.seconds, weights=chosen.weights)
    print(table)
    if chosen.write:
        name = "benchmark-webhooks-weights.md" if chosen.weights else "benchmark-webhooks.md"
        (ROOT / "docs" / name).write_text(table)
    return 0 if not forged.changed and set(forged.statuses) == {401} else 1


if __name__ == "__main__":
    sys.exit(main())

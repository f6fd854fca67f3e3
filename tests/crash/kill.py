"""kill -9 of every service at random moments while reservations are made; the sandbox's ledger is the judge.

    python -m tests.crash.kill [--reservations 500] [--kills 20] [--seed 7]

Prints lost, doubled and unknown; exit code 1 where something was lost, or doubled without a logged unknown outcome.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psycopg
from tests.crash import report
from tests.crash.result import Result

from llegada_dev.infrastructure import infrastructure, say
from llegada_dev.ports import Ports, free_base
from llegada_dev.system import System, system

_PATIENCE = 240.0  # seconds for everything to end after the last kill


async def create(client: httpx.AsyncClient, number: int) -> int:
    """As a careful client does: the same request with the same key until it is answered."""
    body = {"guestName": f"Guest {number}", "contact": f"+57300{number:07}", "amount": 180_000}
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            answer = await client.post("/api/reservations", json=body, headers={"Idempotency-Key": f"crash-{number}"})
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code == httpx.codes.CREATED:
            return int(answer.json()["data"]["id"])
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise AssertionError(f"refused: {answer.text}")
        await asyncio.sleep(0.1)
    raise AssertionError(f"reservation {number} was never answered")


async def make(made: System, count: int, first: int = 0) -> list[int]:
    """So many reservations, each of another guest; `first` numbers them."""
    limit = asyncio.Semaphore(10)
    headers = {"Authorization": f"Bearer {made.token}"}
    async with httpx.AsyncClient(base_url=made.api, headers=headers, timeout=10, trust_env=False) as client:

        async def one(number: int) -> int:
            async with limit:
                await asyncio.sleep(0.05)
                return await create(client, number)

        return list(await asyncio.gather(*(one(number) for number in range(first, first + count))))


async def kill_at_random(made: System, kills: int, seed: int, busy: "asyncio.Future[list[int]]") -> int:
    """Each service in turn, at random moments; started again like a cluster would."""
    source, names, done = random.Random(seed), sorted(made.cluster.services), 0
    while done < kills * len(names):
        await asyncio.sleep(source.uniform(0.05, 0.6))
        name = names[done % len(names)]
        if made.cluster.services[name].running:
            made.cluster.kill(name)
            done += 1
        await asyncio.to_thread(made.cluster.services[name].wait_stopped, 5)
        made.cluster.restart_dead()
        await asyncio.sleep(source.uniform(0.5, 3.0) if busy.done() else source.uniform(1.0, 3.0))
    return done


async def finished(made: System, ids: list[int]) -> list[dict[str, Any]]:
    """Every reservation's last state, once nothing is in motion any more."""
    headers = {"Authorization": f"Bearer {made.token}"}
    deadline = time.monotonic() + _PATIENCE
    async with httpx.AsyncClient(base_url=made.api, headers=headers, timeout=10, trust_env=False) as client:
        while True:
            try:
                rows = await _all(client, len(ids))
                open_rows = [row for row in rows if row["processingStatus"] != "completed"]
                if not open_rows or time.monotonic() > deadline:
                    return rows
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            made.cluster.restart_dead()
            await asyncio.sleep(0.5)


async def _all(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for page in range(1, (count - 1) // 200 + 2):
        answer = await client.get("/api/reservations", params={"page": page, "pageSize": 200})
        rows += answer.json()["data"]
    return rows


def judge(made: System, ids: list[int], rows: list[dict[str, Any]], kills: int) -> Result:
    result = Result(len(ids), kills)
    shown = {row["id"]: row for row in rows}
    effects = httpx.get(f"{made.sandbox}/_sandbox/effects", timeout=60).json()
    urls = {e["url"] for e in effects if e["provider"] == "bold"}
    messages = Counter(e["recipient"] for e in effects if e["provider"] == "whatsapp")
    result.lost_reservations = len(set(ids) - set(shown))
    result.doubled_reservations = len(rows) - len(set(ids) & set(shown))
    result.lost_links = sum(row["paymentLink"] not in urls for row in rows)
    result.orphan_links = len(urls) - len({row["paymentLink"] for row in rows})
    recipients = {row["guestPhone"].removeprefix("+") for row in rows}
    result.lost_messages = len(recipients - set(messages))
    result.doubled_messages = sum(count - 1 for count in messages.values())
    with psycopg.connect(made.infrastructure.database_url) as connection:
        for schema, field in (("notification_worker", "unknown_messages"), ("payment_worker", "unknown_links")):
            row = connection.execute(f"select coalesce(sum(unknown_outcomes), 0) from {schema}.effects".encode())
            setattr(result, field, int((row.fetchone() or (0,))[0]))
    return result


async def campaign(made: System, reservations: int, kills: int, seed: int) -> Result:
    making = asyncio.ensure_future(make(made, reservations))
    killed = await kill_at_random(made, kills, seed, making)
    ids = await making
    say(f"{len(ids)} reservations are made, {killed} kills; waiting for the last effects")
    return judge(made, ids, await finished(made, ids), killed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reservations", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20, help="of each service")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="add the run to docs/reliability.json and .md")
    parser.add_argument("--latency", default="0.05-0.3", help="seconds that providers take")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llegada-") as name:
        folder, ports = Path(name), Ports(free_base())
        folder.chmod(0o755)
        with (
            infrastructure(folder, ports) as found,
            system(found, folder, ports, latency=chosen.latency, more={"LOG_LEVEL": "WARNING"}) as made,
        ):
            result = asyncio.run(campaign(made, chosen.reservations, chosen.kills, chosen.seed))
            broker = httpx.get(f"{found.management}/api/overview", timeout=10).json()["rabbitmq_version"]
    summary = {**vars(result), "lost": result.lost, "doubled": result.doubled, "seed": chosen.seed}
    print(json.dumps(summary))
    print(
        f"lost {result.lost}, doubled {result.doubled}, "
        f"doubled after a logged unknown outcome {min(result.doubled_messages, result.unknown_messages)}, "
        f"unknown {result.unknown_messages + result.unknown_links}, orphan links {result.orphan_links}"
    )
    if chosen.write:
        report.write(report.Run.of(result, broker, points=[], seed=chosen.seed))
    return 1 if result.lost or result.doubled else 0


if __name__ == "__main__":
    sys.exit(main())

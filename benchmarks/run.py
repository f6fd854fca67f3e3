"""Side by side in one run: answer times without and with the queue; then the chain under a steady load.

    python benchmarks/run.py [--seconds 20] [--rates 10 100] [--write]

Absolute figures of a shared machine mean little; the ratio between the two columns is what counts.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp
import psycopg

from llegada_dev.cluster import ROOT
from llegada_dev.system import UNLIMITED, System, temporary_system

ANSWERS = 20
"""Requests of the side-by-side part: each takes 2–6 s without the queue."""


@dataclass(frozen=True)
class Load:
    """What a steady load met; seconds."""

    answers: list[float]
    late: int
    oldest: float
    drained: float

    def quantile(self, share: float) -> float:
        return sorted(self.answers)[min(int(len(self.answers) * share), len(self.answers) - 1)]


async def _post(client: aiohttp.ClientSession, number: int) -> float:
    body = {"guestName": "Ana", "contact": f"+57300{number:07}", "amount": 180_000}
    started = time.perf_counter()
    async with client.post("/api/reservations", json=body) as answer:
        answer.raise_for_status()
        await answer.read()
    return time.perf_counter() - started


def connected(made: System) -> aiohttp.ClientSession:
    """Light: the load generator shares the cores with what it measures."""
    headers = {"Authorization": f"Bearer {made.token}"}
    return aiohttp.ClientSession(made.api, headers=headers, timeout=aiohttp.ClientTimeout(60))


async def answer_times(made: System, first: int) -> list[float]:
    """Five front desks at once, as many requests as ANSWERS."""
    gate = asyncio.Semaphore(5)
    async with connected(made) as client:

        async def one(number: int) -> float:
            async with gate:
                return await _post(client, number)

        await asyncio.gather(*(one(first + ANSWERS + number) for number in range(10)))  # connections and caches
        return list(await asyncio.gather(*(one(first + number) for number in range(ANSWERS))))


async def steady_load(made: System, rate: int, seconds: int) -> Load:
    """Requests at fixed times, whatever the answers do (no coordinated omission)."""
    answers: list[float] = []
    async with connected(made) as client:
        await asyncio.gather(*(_post(client, number) for number in range(50)))  # connections and caches
        await drained(made, 60)
        start = time.perf_counter()
        ages = [0.0]
        watching = asyncio.create_task(_watch(made, ages))

        async def at(number: int) -> None:
            due = start + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            await _post(client, 1000 + number)
            answers.append(time.perf_counter() - due)

        await asyncio.gather(*(at(number) for number in range(rate * seconds)))
        watching.cancel()
        ended = time.perf_counter()
        await drained(made, 400)
    return Load(answers, sum(a > 0.05 for a in answers), max(ages), time.perf_counter() - ended)


async def _watch(made: System, ages: list[float]) -> None:
    """The age of the oldest reservation that is not finished, once a second."""
    while True:
        await asyncio.sleep(1)
        ages.append(await asyncio.to_thread(_oldest, made))


def _oldest(made: System) -> float:
    statement = (
        b"select coalesce(extract(epoch from now() - min(created_at)), 0)::float"
        b" from reservation_api.reservations where processing_status <> 'completed'"
    )
    with psycopg.connect(made.infrastructure.database_url) as connection:
        row = connection.execute(statement).fetchone()
    return float(row[0]) if row else 0.0


async def drained(made: System, seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while await asyncio.to_thread(_oldest, made) > 0:
        if time.perf_counter() > deadline:
            raise AssertionError("the chain did not keep up: unfinished reservations are left")
        await asyncio.sleep(0.05)


async def create(made: System, count: int, *, at_once: int, first: int = 0) -> None:
    """So many reservations, each of a guest of its own, numbered from `first` on."""
    gate = asyncio.Semaphore(at_once)
    async with connected(made) as client:

        async def one(number: int) -> None:
            async with gate:
                await _post(client, number)

        await asyncio.gather(*(one(number) for number in range(first, first + count)))


async def burst(made: System, count: int) -> float:
    """Reservations a second through the whole chain: `count` at once, until the last message is out."""
    started = time.perf_counter()
    await create(made, count, at_once=20, first=500_000)
    await drained(made, 180)
    return count / (time.perf_counter() - started)


def stage(stack: ExitStack, *, queue: bool, latency: str, more: dict[str, str] | None = None) -> System:
    environment = {"LOG_LEVEL": "WARNING", **(more or {})}
    return stack.enter_context(temporary_system(latency=latency, queue=queue, webhooks=False, more=environment))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 100], help="requests a second")
    parser.add_argument("--burst", type=int, default=500)
    parser.add_argument("--write", action="store_true", help="write docs/benchmark.md")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        without = asyncio.run(answer_times(stage(stack, queue=False, latency="1-3"), 0))
    with ExitStack() as stack:
        with_queue = asyncio.run(answer_times(stage(stack, queue=True, latency="1-3"), 0))
    with ExitStack() as stack:
        made = stage(stack, queue=True, latency="0", more={"QUEUE_CONCURRENCY": "20", **UNLIMITED})
        loads = {rate: asyncio.run(steady_load(made, rate, chosen.seconds)) for rate in chosen.rates}
        throughput = asyncio.run(burst(made, chosen.burst))
    table = report(without, with_queue, loads, throughput, chosen.seconds)
    print(table)
    if chosen.write:
        (ROOT / "docs" / "benchmark.md").write_text(table)
    return 0


def report(without: list[float], with_queue: list[float], loads: dict[int, Load], burst: float, seconds: int) -> str:
    def row(name: str, before: float, after: float) -> str:
        return f"| {name} | {before * 1000:.0f} ms | {after * 1000:.1f} ms | {before / after:.0f} × |"

    def steady(name: str, pick: Callable[[Load], str]) -> str:
        return f"| {name} | " + " | ".join(pick(load) for load in loads.values()) + " |"

    return "\n".join(
        [
            "# Benchmark",
            "",
            "Written by `make bench ARGS=--write`; two cores shared by broker, database, sandbox, all services and the",
            "load generator. The ratios count, not the figures: for comparison, ten million additions in a Python loop",
            f"take {loop_seconds():.1f} s on the machine that wrote this.",
            "",
            "## Answer to “create reservation”, providers at 1–3 s, five front desks at once",
            "",
            "| | `QUEUE_ENABLED=false` | `QUEUE_ENABLED=true` | ratio |",
            "|---|---|---|---|",
            row("median", statistics.median(without), statistics.median(with_queue)),
            row("worst", max(without), max(with_queue)),
            "",
            f"## A steady load for {seconds} s, providers at zero latency, all workers running",
            "",
            "| requests/s | " + " | ".join(str(rate) for rate in loads) + " |",
            "|---|" + "---|" * len(loads),
            steady("p50", lambda load: f"{load.quantile(0.5) * 1000:.1f} ms"),
            steady("p95", lambda load: f"{load.quantile(0.95) * 1000:.1f} ms"),
            steady("p99", lambda load: f"{load.quantile(0.99) * 1000:.1f} ms"),
            steady("over 50 ms", lambda load: f"{load.late} of {len(load.answers)}"),
            steady("oldest unfinished reservation", lambda load: f"{load.oldest:.1f} s"),
            steady("after the last request, all finished within", lambda load: f"{load.drained:.1f} s"),
            "",
            f"Throughput of the whole chain (burst): {burst:.0f} reservations/s.",
            "",
        ]
    )


def loop_seconds() -> float:
    """How fast this machine is, in a unit that anybody can repeat."""
    started = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())

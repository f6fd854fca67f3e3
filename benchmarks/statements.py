"""Two hundred monthly statements at a time, against one after the other: time, and memory of all processes together.

    python benchmarks/statements.py [--statements 200] [--clients 40] [--write]

One in twenty has 500 clients. Absolute figures of a shared machine mean little; the ratio is what counts.
"""

import argparse
import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from backoffice_worker.documents import statement_data
from backoffice_worker.rendering import Typesetter
from backoffice_worker.statements import group
from llegada.events.statement import StatementRequested
from llegada_dev.cluster import ROOT

MANY, EACH = 500, 20
"""Clients of the long statements, and how many statements there are for each long one."""


@dataclass(frozen=True)
class Way:
    """`peak`: bytes of this process and all typesetters together, the most that was seen."""

    name: str
    seconds: float
    peak: int
    pages: int


def statement(number: int, clients: int) -> StatementRequested:
    entries = [
        {"client_id": f"c{n}", "client_name": f"Compañía {n:03}", "on": date(2026, 11, 1 + n % 20), "minutes": 15 + n}
        for n in range(clients)
    ]
    return StatementRequested.model_validate(
        {
            "organization_id": 1,
            "statement_id": number,
            "number": f"MR-202611-{number:03}",
            "consultant": f"Consultant {number}",
            "issuer": "Hostal Demo",
            "recipient": "Buchhaltung",
            "period_start": date(2026, 10, 25),
            "period_end": date(2026, 11, 24),
            "issued_on": date(2026, 11, 25),
            "hourly_rate": 15_000,
            "entries": entries,
        }
    )


async def measure(name: str, wanted: list[StatementRequested], parallel: int) -> Way:
    typesetter = Typesetter(parallel, seconds=120)  # a machine that is shared, and a measurement that must end

    async def one(event: StatementRequested) -> int:
        grouped = group(event.entries, event.hourly_rate, event.period_start)
        return (await typesetter.render("statement", statement_data(event, grouped))).pages

    watching = asyncio.create_task(_watch(peak := [0]))
    began = time.perf_counter()
    pages = await asyncio.gather(*(one(event) for event in wanted))
    seconds = time.perf_counter() - began
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return Way(name, seconds, peak[0], sum(pages))


async def _watch(peak: list[int]) -> None:
    """The memory of this process and its children, twenty times a second."""
    while True:
        peak[0] = max(peak[0], _resident())
        await asyncio.sleep(0.05)


def _resident() -> int:
    mine = os.getpid()
    with suppress(FileNotFoundError):
        children = Path(f"/proc/self/task/{mine}/children").read_text().split()
        return sum(_size(pid) for pid in (str(mine), *children))
    return 0


def _size(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError, IndexError):  # it ended meanwhile
        return 0


def table(number: int, clients: int, ways: list[Way]) -> str:
    first = ways[0]
    rows = [
        f"| {way.name} | {way.seconds:.1f} s | {first.seconds / way.seconds:.1f} × | "
        f"{1000 * way.seconds / number:.0f} ms | {way.peak / 1024**2:.0f} MB |"
        for way in ways
    ]
    return "\n".join(
        [
            "# Benchmark: monthly statements",
            "",
            f"Written by `make bench-statements ARGS=--write` on {os.cpu_count()} shared processors: {number}",
            f"statements, {first.pages} pages. One in {EACH} has {MANY} clients, the others {clients}. Each document",
            "is typeset by a process of its own; memory is that of all processes together, the most that was seen.",
            "",
            "| | time | faster | per statement | memory |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


async def run(number: int, clients: int) -> list[Way]:
    wanted = [statement(n, MANY if n % EACH == 0 else clients) for n in range(1, number + 1)]
    cores = os.cpu_count() or 1
    await measure("warm up", wanted[:2], 1)
    return [
        await measure("one after the other", wanted, 1),
        await measure(f"{cores} at a time (as many as processors)", wanted, cores),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=200)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="write docs/benchmark-statements.md")
    arguments = parser.parse_args()
    text = table(arguments.statements, arguments.clients, asyncio.run(run(arguments.statements, arguments.clients)))
    print(text)
    if arguments.write:
        (ROOT / "docs" / "benchmark-statements.md").write_text(text)


if __name__ == "__main__":
    main()

"""Ten thousand dead letters: made, listed, grouped, replayed; how long the desk takes, and how much memory.

    python -m benchmarks.dead_letters [--count 10000] [--rate 50] [--write]

Bold refuses every link, so each reservation ends as a dead letter. Then the group is replayed while Bold still refuses:
the replay must stop by itself. Then Bold works, and everything is replayed; half way it refuses again, and the replay
must stop by itself once more. In the end all is replayed, and Bold's ledger must have exactly one link for each.
"""

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from benchmarks.run import create, stage

from llegada_dev.cluster import ROOT
from llegada_dev.infrastructure import say
from llegada_dev.system import UNLIMITED, System
from llegada_dev.waiting import until

DESK = "/api/admin/dead-letters"
WATCHED = ("reservation-api", "payment-worker")
REFUSAL = {"provider": "bold", "operation": "create_link", "kind": "status", "value": 422}
PATIENCE = 1800.0  # seconds


@dataclass
class Measured:
    """Seconds and MiB; `stopped_after`: of the replays that stopped by themselves, how many were sent."""

    count: int
    rate: int
    listing: float = 0.0
    grouping: float = 0.0
    search: float = 0.0
    stopped_after: list[int] = field(default_factory=list)
    a_second: float = 0.0
    links: int = 0
    memory: dict[str, list[float]] = field(default_factory=dict)


class Operator:
    """Works the desk over HTTP."""

    def __init__(self, made: System) -> None:
        headers = {"Authorization": f"Bearer {made.admin_token}"}
        self._api = httpx.Client(base_url=made.api, headers=headers, timeout=60, trust_env=False)
        self._sandbox = httpx.Client(base_url=made.sandbox, timeout=120, trust_env=False)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self._api.get(DESK + path, params=parameters)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def seconds(self, path: str, **parameters: Any) -> float:
        """The median of five."""
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            self.get(path, **parameters)
            taken.append(time.perf_counter() - started)
        return sorted(taken)[2]

    def total(self, state: str) -> int:
        return int(self.get("", state=state, pageSize=1)["meta"]["total"])

    def until(self, count: int) -> None:
        until(lambda: self.total("open") >= count, PATIENCE, f"{count} dead letters", pause=0.5)

    def until_all_have_an_outcome(self) -> None:
        """Also those of a replay that stopped: what it had sent is tried again by itself, or waits for its turn."""
        until(lambda: self.total("replayed") == 0, PATIENCE, "an outcome of every replayed message", pause=0.5)

    def refuse(self) -> None:
        self._sandbox.post("/_sandbox/faults", json=REFUSAL).raise_for_status()

    def work(self) -> None:
        self._sandbox.delete("/_sandbox/faults").raise_for_status()

    def links(self) -> int:
        """Of how many reservations there is exactly one."""
        made = self._sandbox.get("/_sandbox/effects", params={"provider": "bold", "operation": "create_link"}).json()
        references = [effect["reference"].partition("-payment-link-")[0] for effect in made]
        assert len(references) == len(set(references)), "a reservation has two links"
        return len(references)

    def replay(self, rate: int, *, refuse_after: int | None = None) -> dict[str, Any]:
        """All that are open, until the replay has ended."""
        answer = self._api.post(f"{DESK}/replays", json={"fingerprint": self._fingerprint(), "rate": rate})
        answer.raise_for_status()
        number, deadline = answer.json()["data"]["id"], time.monotonic() + PATIENCE
        replay: dict[str, Any]
        while (replay := self.get(f"/replays/{number}")["data"])["state"] == "running":
            if refuse_after is not None and replay["done"] >= refuse_after:
                self.refuse()
                refuse_after = None
            if time.monotonic() > deadline:
                raise AssertionError(f"the replay does not end: {replay}")
            time.sleep(0.5)
        say(f"replay {replay['state']}: {replay['done']} done, {replay['failedAgain']} failed ({replay['reason']})")
        return replay

    def _fingerprint(self) -> str:
        (group,) = self.get("/groups")["data"]
        return str(group["fingerprint"])


@contextmanager
def memory_watched(made: System, into: dict[str, list[float]]) -> Iterator[None]:
    """The resident memory of WATCHED, MiB, once a second."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            for name in WATCHED:
                status = Path(f"/proc/{made.cluster.services[name].pid}/status").read_text()
                line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
                into.setdefault(name, []).append(int(line.split()[1]) / 1024)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def measure(made: System, count: int, rate: int) -> Measured:
    operator, found = Operator(made), Measured(count, rate)
    operator.refuse()
    started = time.perf_counter()
    asyncio.run(create(made, count, at_once=20))
    operator.until(count)
    say(f"{count} dead letters after {time.perf_counter() - started:.0f} s")
    found.listing = operator.seconds("", pageSize=200)
    found.grouping = operator.seconds("/groups")
    found.search = operator.seconds("", text="reservation/77", pageSize=50)
    with memory_watched(made, found.memory):
        found.stopped_after.append(_stopped(operator.replay(rate)))
        operator.work()
        found.stopped_after.append(_stopped(operator.replay(rate, refuse_after=count // 2)))
        operator.work()
        operator.until_all_have_an_outcome()
        started, left = time.perf_counter(), operator.total("open")
        ended = operator.replay(rate)
        found.a_second = left / (time.perf_counter() - started)
        operator.until_all_have_an_outcome()
    assert ended["state"] == "finished", ended
    assert operator.total("open") == 0
    found.links = operator.links()
    assert found.links == count, f"{count} reservations, but {found.links} links"
    return found


def _stopped(replay: dict[str, Any]) -> int:
    assert replay["state"] == "stopped", replay
    return int(replay["done"] + replay["failedAgain"] + replay["pending"])


def report(found: Measured) -> str:
    memory = [
        f"| memory of {name}: first, most, last | {values[0]:.0f}, {max(values):.0f}, {values[-1]:.0f} MiB |"
        for name, values in found.memory.items()
    ]
    first, second = found.stopped_after
    return "\n".join(
        [
            f"# {found.count:,} dead letters",
            "",
            "Written by `make bench-dead-letters ARGS=--write`; two cores shared by everything.",
            "",
            "| | |",
            "|---|---|",
            f"| a page of 200 | {found.listing * 1000:.0f} ms |",
            f"| all groups | {found.grouping * 1000:.0f} ms |",
            f"| a search | {found.search * 1000:.0f} ms |",
            f"| replayed while Bold refuses: stopped by itself after | {first:,} |",
            f"| Bold refuses from half of them on: stopped by itself after | {second:,} |",
            f"| the rest, replayed with at most {found.rate} a second | {found.a_second:.0f} a second |",
            f"| links in Bold's ledger | {found.links:,}, one for each |",
            *memory,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=50, help="messages a second")
    parser.add_argument("--write", action="store_true", help="write docs/benchmark-dead-letters.md")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        made = stage(stack, queue=True, latency="0", more={"QUEUE_CONCURRENCY": "20", **UNLIMITED})
        table = report(measure(made, chosen.count, chosen.rate))
    print(table)
    if chosen.write:
        (ROOT / "docs" / "benchmark-dead-letters.md").write_text(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

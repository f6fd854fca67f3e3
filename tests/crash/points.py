"""A process is ended exactly at each named point of the paths of a message, and everything must come out all the same.

    python -m tests.crash.points [--only POINT …] [--reservations 5] [--short] [--plant BUG] [--write]

Per point: reservations are made while one service ends itself there (SIGKILL), it is started again, and the sandbox's
ledger is compared with what was accepted. `--plant` puts a bug in, and succeeds only if it is found. `--write` adds the
run to docs/reliability.json and writes docs/reliability.md.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from tests.crash.kill import judge, make
from tests.crash.report import Run, write
from tests.crash.result import Result

from llegada_dev.cluster import API
from llegada_dev.infrastructure import infrastructure, say
from llegada_dev.ports import Ports, free_base
from llegada_dev.system import System, system

CHILD = Path(__file__).parent / "child"
PAYMENT, NOTIFICATION = "payment-worker", "notification-worker"


@dataclass(frozen=True)
class Point:
    """Where which service dies. `fault`: what the providers do meanwhile; `replayed`: dead letters are replayed."""

    service: str
    name: str
    fault: str = ""
    replayed: bool = False


_STATE = ("before_inbox", "after_inbox", "after_handler", "before_commit", "after_commit")
_RELAY = ("before_claim", "after_claim", "between_write_and_confirm", "after_confirm", "after_delete", "after_commit")
_EFFECT = (
    "after_slot", "before_claim", "after_claim", "before_call", "during_call", "after_call", "after_settle",
)  # fmt: skip

POINTS = (
    *(Point(API, f"request.{at}") for at in ("after_key", "before_store", "before_commit", "after_commit")),
    *(Point(API, f"relay.{at}") for at in _RELAY),
    *(Point(API, f"state.{at}") for at in _STATE),
    *(Point(NOTIFICATION, f"state.{at}") for at in (*_STATE, "after_outbox")),
    Point(NOTIFICATION, "delivery.before"),
    Point(NOTIFICATION, "delivery.after_ack"),
    *(Point(PAYMENT, f"effect.{at}") for at in _EFFECT),
    *(Point(NOTIFICATION, f"effect.{at}") for at in _EFFECT),
    Point(PAYMENT, "retry.before_settle", "retry"),
    Point(PAYMENT, "retry.after_settle", "retry"),
    Point(PAYMENT, "relay.after_confirm", "retry"),
    Point(PAYMENT, "dead.before_settle", "dead", replayed=True),
    Point(PAYMENT, "dead.after_settle", "dead", replayed=True),
    Point(API, "dead_letter.before_store", "dead", replayed=True),
    Point(API, "dead_letter.after_store", "dead", replayed=True),
    Point(API, "replay.before_send", "dead", replayed=True),
    Point(API, "replay.after_send", "dead", replayed=True),
)
SHORT = {
    (API, "request.before_commit"), (API, "relay.after_confirm"), (API, "state.after_commit"),
    (NOTIFICATION, "state.before_commit"), (PAYMENT, "effect.during_call"), (NOTIFICATION, "effect.after_call"),
    (PAYMENT, "retry.after_settle"), (API, "dead_letter.after_store"),
}  # fmt: skip


class Harness:
    """One system for all points; reservations of earlier points stay and must not change."""

    def __init__(self, made: System, reservations: int, patience: float) -> None:
        self.made = made
        self.patience = patience
        self.reservations = reservations
        self.ids: list[int] = []
        self.deaths = 0
        headers = {"Authorization": f"Bearer {made.admin_token}"}
        self._api = httpx.Client(base_url=made.api, headers=headers, timeout=10, trust_env=False)
        self._sandbox = httpx.Client(base_url=made.sandbox, timeout=10, trust_env=False)

    def run(self, point: Point) -> None:
        """End the service at the point, start it again, and wait until everything has come out."""
        process = self.made.cluster.services[point.service]
        process.stop()
        process.change_environment({"CRASH_AT": point.name, "CRASH_ON": "1"})
        process.spawn()  # it may be there before it is ready
        process.change_environment({"CRASH_AT": ""})
        if point.fault:
            self._fault(point.fault)
        asyncio.run(self._meanwhile(point))
        self._until(
            lambda: self._finished(replay=point.replayed), f"{point.service} {point.name}: everything comes out"
        )

    async def _meanwhile(self, point: Point) -> None:
        process = self.made.cluster.services[point.service]
        making = asyncio.ensure_future(make(self.made, self.reservations, len(self.ids)))
        deadline = time.monotonic() + self.patience
        while process.running:
            if time.monotonic() > deadline:
                raise AssertionError(f"{point.service} never reached {point.name}")
            if point.name.startswith("replay.") and making.done():
                await asyncio.to_thread(self._replay, self.reservations)
            await asyncio.sleep(0.05)
        self.deaths += 1
        await asyncio.to_thread(process.wait_stopped, 5)
        process.spawn()
        self.ids += await making

    def _fault(self, kind: str) -> None:
        status, times = (500, 2) if kind == "retry" else (422, self.reservations)
        fault = {"provider": "bold", "operation": "create_link", "kind": "provider_error", "times": times}
        self._sandbox.post("/_sandbox/faults", json={**fault, "value": {"status": status}}).raise_for_status()

    def _replay(self, at_least: int) -> None:
        """Send dead letters again once so many of them are stored, without the fault that made them."""
        letters = "/api/admin/dead-letters"
        if self._api.get(letters).json()["meta"]["total"] >= at_least:
            self._sandbox.delete("/_sandbox/faults")
            self._api.post(f"{letters}/replays", json={"all": True, "rate": 100})

    def _finished(self, *, replay: bool) -> bool:
        """Whether every reservation is completed; with `replay` dead letters are sent again first."""
        try:
            if replay:
                self._replay(1)
            answer = self._api.get("/api/reservations", params={"processingStatus": "completed", "pageSize": 1})
            return bool(answer.status_code == httpx.codes.OK and answer.json()["meta"]["total"] >= len(self.ids))
        except (httpx.TransportError, KeyError):  # the API is away: no answer, or a problem instead of a list
            return False

    def _until(self, check: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not check():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {self.patience:.0f} s: {what}")
            self.made.cluster.restart_dead()
            time.sleep(0.2)

    def judged(self) -> Result:
        rows = []
        for page in range(1, (len(self.ids) - 1) // 200 + 2):
            answer = self._api.get("/api/reservations", params={"page": page, "pageSize": 200})
            rows += answer.json()["data"]
        return judge(self.made, self.ids, rows, self.deaths)


def campaign(made: System, points: list[Point], reservations: int, patience: float) -> tuple[Result, list[str]]:
    """The judgement over all points, and the points after which something did not come out."""
    harness, failed = Harness(made, reservations, patience), []
    for point in points:
        started = time.monotonic()
        try:
            harness.run(point)
        except AssertionError as error:
            failed.append(f"{point.service} {point.name}")
            say(f"FAILED {error}")
        else:
            say(f"{point.service} {point.name}: {time.monotonic() - started:.1f} s")
    return harness.judged(), failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="POINT", help="names, for instance effect.after_call")
    parser.add_argument("--reservations", type=int, default=5, help="per point")
    parser.add_argument("--patience", type=float, default=90, help="seconds until a point counts as stuck")
    parser.add_argument("--short", action="store_true", help="one point of each path")
    parser.add_argument("--plant", choices=["ack-before-commit", "delete-before-confirm"])
    parser.add_argument("--write", action="store_true", help="add the run to docs/reliability.json and .md")
    chosen = parser.parse_args()
    points = [p for p in POINTS if not chosen.only or p.name in chosen.only]
    points = [p for p in points if not chosen.short or (p.service, p.name) in SHORT]
    more = {"LOG_LEVEL": "WARNING", "PYTHONPATH": str(CHILD), "CRASH_PLANT": chosen.plant or ""}
    with tempfile.TemporaryDirectory(prefix="llegada-") as name:
        folder, ports = Path(name), Ports(free_base())
        folder.chmod(0o755)
        with infrastructure(folder, ports) as found, system(found, folder, ports, latency="0.05", more=more) as made:
            result, failed = campaign(made, points, chosen.reservations, chosen.patience)
            broker = httpx.get(f"{found.management}/api/overview", timeout=10).json()["rabbitmq_version"]
    lost = result.lost + len(failed)
    print(f"points {len(points)}, deaths {result.kills}, lost {result.lost}, stuck {failed}, doubled {result.doubled},"
          f" doubled after a logged unknown outcome {min(result.doubled_messages, result.unknown_messages)},"
          f" orphan links {result.orphan_links}")  # fmt: skip
    if chosen.plant:
        print(f"the planted bug {chosen.plant} was {'found' if lost or result.doubled else 'NOT found'}")
        return 0 if lost or result.doubled else 1
    if chosen.write:
        write(Run.of(result, broker, points=[f"{p.service} {p.name}" for p in points], seed=None))
    return 1 if lost or result.doubled else 0


if __name__ == "__main__":
    sys.exit(main())

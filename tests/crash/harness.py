"""One system in which services are ended, or stopped, exactly at a point; and everything must come out."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
from tests.crash.judge import all_published, at_rest, judge, open_journal, query
from tests.crash.load import make
from tests.crash.result import Result

from llegada_dev.cluster import ROOT
from llegada_dev.infrastructure import say
from llegada_dev.server import ServerProcess
from llegada_dev.system import System, temporary_system

PAYMENT, NOTIFICATION = "payment-worker", "notification-worker"
REPLICATED = {PAYMENT: 2, NOTIFICATION: 2}
CHILD = {"PYTHONPATH": f"{Path(__file__).parent / 'child'}:{ROOT}", "LOG_LEVEL": "WARNING", "CRASH_JOURNAL": "1"}
"""What makes tests/crash/child part of a service's process."""
SHORT_LEASE = "4"  # seconds


@dataclass(frozen=True)
class Point:
    """Where which service dies. `fault`: what the providers do meanwhile; `replayed`: dead letters are replayed.

    `how`: `kill` of the process, `stop` of it until a second replica has taken over, or `broker`: kill of the broker.
    """

    service: str
    name: str
    fault: str = ""
    replayed: bool = False
    how: str = "kill"

    def __str__(self) -> str:
        return f"{self.service} {self.name}{_HOW[self.how]}"


_HOW = {"kill": "", "stop": " (stopped)", "broker": " (broker killed)"}


@contextmanager
def staged(reservations: int, patience: float, plant: str = "") -> Iterator["Harness"]:
    more = {**CHILD, "CRASH_PLANT": plant, "CRASH_LEASE": SHORT_LEASE}
    with temporary_system(latency="0.05", more=more, replicas=REPLICATED) as made:
        yield Harness(made, reservations, patience)


class Harness:
    """Reservations of earlier points stay and must not change. `tally`: what was done to the system."""

    def __init__(self, made: System, reservations: int, patience: float) -> None:
        self.made = made
        self.patience = patience
        self.reservations = reservations
        self.ids: list[int] = []
        self.tally: Counter[str] = Counter()
        headers = {"Authorization": f"Bearer {made.admin_token}"}
        self._api = httpx.Client(base_url=made.api, headers=headers, timeout=10, trust_env=False)
        self._sandbox = httpx.Client(base_url=made.sandbox, timeout=10, trust_env=False)
        self._second: dict[str, ServerProcess] = {}
        for service in REPLICATED:  # away, so that deliveries reach the process that has the point
            self._second[service] = made.cluster.services.pop(f"{service}-2")
            self._second[service].stop()
        open_journal(made)

    def run(self, point: Point) -> None:
        """End the service at the point, and start it again."""
        process = self.made.cluster.services[point.service]
        # What is left in an outbox, as the organization's settings, would reach the point instead of what is made now.
        self._until(lambda: all_published(self.made), "what was said before is published")
        process.stop()
        broker = self.made.infrastructure.broker
        changes = {"CRASH_AT": point.name, "CRASH_ON": "1", "CRASH_HOW": point.how}
        process.change_environment({**changes, "CRASH_BROKER": str(broker.pid) if broker else "0"})
        process.spawn()  # it may be there before it is ready
        process.change_environment({"CRASH_AT": "", "CRASH_HOW": ""})
        if point.fault:
            self._fault(point.fault)
        if point.how == "stop":
            second = self._second[point.service]
            second.start()
            process.wait_ready()
            asyncio.run(self._stopped(point, process))
            second.stop()
        else:
            if point.how == "broker":  # before that it would end for want of a broker to start with
                process.wait_ready()
                self._until(lambda: self._consumes(point.service), f"{point.service} consumes")
            asyncio.run(self._killed(point, process))

    def come_out(self, point: Point) -> None:
        """Wait until everything that was accepted has been done."""
        self._until(lambda: self._finished(replay=point.replayed), f"{point}: everything comes out")

    async def _killed(self, point: Point, process: ServerProcess) -> None:
        making = asyncio.ensure_future(make(self.made, self.reservations, len(self.ids)))
        broker = self.made.infrastructure.broker
        deadline = time.monotonic() + self.patience
        while process.running and not (point.how == "broker" and broker is not None and not broker.running):
            if time.monotonic() > deadline:
                raise AssertionError(f"{point.service} never reached {point.name}")
            if point.name.startswith("replay.") and making.done():
                await asyncio.to_thread(self._replay, self.reservations)
            await asyncio.sleep(0.05)
        if point.how == "broker" and broker is not None:
            self.tally["broker_restarts"] += 1
            await asyncio.to_thread(broker.start)
        else:
            self.tally["kills"] += 1
            await asyncio.to_thread(process.wait_stopped, 5)
            process.spawn()
        self.ids += await making

    async def _stopped(self, point: Point, process: ServerProcess) -> None:
        """The broker takes its deliveries away from a process that stands still; it resumes when all are done."""
        making = asyncio.ensure_future(make(self.made, self.reservations, len(self.ids)))
        deadline = time.monotonic() + self.patience
        while not _stands_still(process.pid):
            if time.monotonic() > deadline:
                raise AssertionError(f"{point.service} never reached {point.name}")
            await asyncio.sleep(0.05)
        self.tally["stops"] += 1
        self.ids += await making
        await asyncio.to_thread(self._close_connections, point.service)
        try:
            await asyncio.to_thread(self.come_out, point)
        finally:
            process.signal(signal.SIGCONT)

    def _consumes(self, service: str) -> bool:
        try:
            health = httpx.get(f"http://127.0.0.1:{self.made.cluster.ports[service]}/health/ready", timeout=5).json()
        except httpx.TransportError as error:
            last_words = self.made.cluster.services[service].last_words()
            raise AssertionError(f"{service} died before anything was made:\n{last_words}") from error
        return all(health["checks"].values())

    def _close_connections(self, service: str) -> None:
        """Those of the other replica too: it comes back by itself."""
        with httpx.Client(base_url=self.made.infrastructure.management or "", timeout=20) as management:
            self._until(lambda: self._consuming(management, service), f"{service} is seen by the broker")
            for connection in self._consuming(management, service):
                management.delete(f"/api/connections/{quote(connection, safe='')}")

    @staticmethod
    def _consuming(management: httpx.Client, service: str) -> list[str]:
        found = management.get("/api/connections").json()
        return [c["name"] for c in found if c.get("client_properties", {}).get("connection_name") == service]

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
        except (httpx.TransportError, KeyError):  # the API is away: no answer, or a problem instead of a list
            return False
        statement = "select count(*) from reservation_api.reservations where processing_status = 'completed'"
        try:
            return int(query(self.made, statement)[0][0]) >= len(self.ids)
        except psycopg.OperationalError:
            return False

    def _until(self, check: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not check():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {self.patience:.0f} s: {what}")
            self.made.cluster.restart_dead()
            time.sleep(0.2)

    def judged(self) -> Result:
        """The ledger's judgement once nothing moves any more."""
        if not at_rest(self.made, self.patience):
            say(f"something still moves after {self.patience:.0f} s")
        return judge(self.made, self.ids)

    def broker_version(self) -> str:
        return str(httpx.get(f"{self.made.infrastructure.management}/api/overview").json()["rabbitmq_version"])


def _stands_still(pid: int) -> bool:
    """Whether the kernel holds the process stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

"""One replica to three and back, under load; services started in any order; and a node lost for two minutes.

    python -m tests.crash.scale [--short] [--seconds 60] [--node-seconds 120] [--seed N]

1. Guests book before any process runs; services start one after the other in a random order.
2. Every service gets two more replicas. Then two of its three get SIGTERM, whichever, while guests go on booking: each
   ends by itself, no call at a provider is cut off (no effect's outcome is unknown), nothing is lost or doubled.
3. Every service has two replicas; those on one node get SIGSTOP, and SIGCONT later. Nothing is lost; what is doubled
   has its logged unknown outcome (a message whose answer fell into the gap cannot be asked for).

The sandbox's ledger is the judge of 1 and 2 together, and of 3. `--short`: short leases and heartbeats, and a node that
is lost for 12 seconds. Exit code 1 where one of these does not hold.
"""

import argparse
import asyncio
import random
import signal
import sys
import time

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.crash.harness import CHILD, SHORT_LEASE
from tests.crash.judge import at_rest, judge, last_id, open_journal, query
from tests.crash.load import desks
from tests.crash.result import Result

from llegada_dev.cluster import API
from llegada_dev.infrastructure import say
from llegada_dev.server import ServerProcess
from llegada_dev.system import UNLIMITED, System, set_up_organization, temporary_system

MOST, NODE = 3, 2
"""Replicas of each service, and the node (it has one replica of each) that is lost."""
DESKS, PACE = 6, 1.0
PATIENCE = 240.0
TRY = 3.0
"""Seconds until a request is tried elsewhere, as a gateway does: a node that is lost does not refuse, it is silent."""
_SHORT = {
    "CRASH_LEASE": SHORT_LEASE,
    "CRASH_HEARTBEAT": "2",
    "NOTIFICATION_WORKER_WHATSAPP_GRACE_SECONDS": "5",
}


class Scaling:
    """The replicas of every service, by number; `apis` are the addresses where requests may go."""

    def __init__(self, made: System, seed: int) -> None:
        self._made = made
        self._source = random.Random(seed)
        self.services = list(made.cluster.services)
        self._replicas: dict[tuple[str, int], ServerProcess] = {
            (service, number): made.cluster.services[service] if number == 1 else made.add(service, number)
            for service in self.services
            for number in range(1, MOST + 1)
        }
        made.cluster.services.clear()  # whatever is in there is started again when it is found dead
        self.apis: list[str] = []
        self.killed: list[str] = []
        self.busy = 0

    def start(self, number: int, *, gap: float = 0) -> None:
        """The replica `number` of every service, in any order, where it does not run; returns when all are ready."""
        names = [key for key in self._replicas if key[1] == number and not self._replicas[key].running]
        self._source.shuffle(names)
        for key in names:
            self._replicas[key].spawn()
            self._made.cluster.services[self._replicas[key].name] = self._replicas[key]
            time.sleep(self._source.uniform(0, gap))
        for key in names:
            self._replicas[key].wait_ready(90)
        self._open()

    def scale_down(self) -> None:
        """All but one replica of each service, whichever, in any order and at any time."""
        chosen = [
            (service, number)
            for service in self.services
            for number in self._source.sample(range(1, MOST + 1), MOST - 1)
        ]
        self._source.shuffle(chosen)
        for key in chosen:
            time.sleep(self._source.uniform(0, 0.6))
            process = self._made.cluster.services.pop(self._replicas[key].name)
            self._open()
            self.busy += self._in_flight(process.name) > 0
            process.ask_to_stop()
        self.killed += [self._replicas[key].name for key in chosen if not self._replicas[key].ended_by_itself(60)]

    def signal_node(self, number: signal.Signals) -> None:
        for service in self.services:
            self._replicas[service, NODE].signal(number)

    def _in_flight(self, name: str) -> float:
        """Deliveries that the process is working at this moment."""
        text = httpx.get(f"http://127.0.0.1:{self._made.cluster.ports[name]}/metrics", timeout=10).text
        families = text_string_to_metric_families(text)
        return sum(s.value for f in families if f.name == "llegada_deliveries_in_flight" for s in f.samples)

    def _open(self) -> None:
        running = self._made.cluster.services
        self.apis[:] = [
            f"http://127.0.0.1:{self._made.cluster.ports[name]}" for name in running if name.startswith(API)
        ]


async def scaled(made: System, scaling: Scaling, seconds: float) -> list[int]:
    """Any order of start, one to three, three to one: the accepted reservations."""
    async with desks(made, DESKS, PACE, scaling.apis) as ids:
        say("starting one replica of each, in any order, while guests book")
        await asyncio.to_thread(scaling.start, 1, gap=1.0)
        say(f"{len(ids)} reservations; starting {MOST - 1} more of each")
        await asyncio.gather(*(asyncio.to_thread(scaling.start, number) for number in range(2, MOST + 1)))
        await asyncio.sleep(seconds)
        say(f"{len(ids)} reservations; ending {MOST - 1} of each")
        await asyncio.to_thread(scaling.scale_down)
        await asyncio.sleep(seconds)
    return ids


async def node_lost(made: System, scaling: Scaling, seconds: float) -> list[int]:
    """A node stands still for so long and comes back: the accepted reservations."""
    for number in range(1, NODE + 1):
        await asyncio.to_thread(scaling.start, number)
    async with desks(made, DESKS, PACE, scaling.apis, first=DESKS, seconds=TRY) as ids:
        await asyncio.sleep(2)
        say(f"{len(ids)} reservations; node {NODE} is lost for {seconds:.0f} s")
        scaling.signal_node(signal.SIGSTOP)
        before = len(ids)
        try:
            await asyncio.sleep(seconds)
        finally:
            scaling.signal_node(signal.SIGCONT)
        say(f"{len(ids) - before} reservations meanwhile; it is back")
        await asyncio.sleep(2)
    return ids


_DONE = "select count(*) from reservation_api.reservations where id > %s and processing_status = 'completed'"


def judged(made: System, ids: list[int], after: int, what: str) -> tuple[Result, bool]:
    rested = at_rest(made, PATIENCE)
    result = judge(made, ids, after)
    done = int(query(made, _DONE, after)[0][0])
    print(f"{what}: {len(ids)} reservations, {done} of them completed, {result}", flush=True)
    if not rested:
        print(f"it did not come to rest within {PATIENCE:.0f} s")
    return result, rested and bool(ids) and not result.lost + result.doubled


def tried(made: System, chosen: argparse.Namespace) -> bool:
    open_journal(made)
    made.cluster.services[API].start()
    set_up_organization(made)
    made.cluster.services[API].stop()
    scaling = Scaling(made, chosen.seed)
    result, well = judged(made, asyncio.run(scaled(made, scaling, chosen.seconds)), 0, "any order, 1 → 3 → 1")
    print(f"{scaling.busy} processes were in the midst of deliveries; had to be killed: {scaling.killed or 'none'}")
    well = well and not result.unknown and not scaling.killed and scaling.busy > 0
    httpx.delete(f"{made.sandbox}/_sandbox/effects", timeout=60, trust_env=False).raise_for_status()
    open_journal(made)
    after = last_id(made)
    ids = asyncio.run(node_lost(made, scaling, chosen.node_seconds or (12 if chosen.short else 120)))
    return judged(made, ids, after, "a node lost")[1] and well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="short leases and heartbeats")
    parser.add_argument("--seconds", type=float, default=10, help="under load with three replicas, and with one again")
    parser.add_argument("--node-seconds", type=float, help="how long the node is lost (default: 120, or 12)")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    more = {**CHILD, **UNLIMITED, "QUEUE_CONCURRENCY": "20", **(_SHORT if chosen.short else {})}
    with temporary_system(latency="0.2-1", more=more, start=False) as made:
        return 0 if tried(made, chosen) else 1


if __name__ == "__main__":
    sys.exit(main())

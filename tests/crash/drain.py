"""SIGTERM under load, again and again: consumers are cancelled first, what was begun ends, the rest is handed back.

    python -m tests.crash.drain [--restarts 100]

The workers and the API get SIGTERM in turn while reservations are made. Then: nothing is lost or doubled; no effect has
an unknown outcome, so no process left a call half done; none had to be killed; and no message was handed back by the
broker (`x-delivery-count`) more than five times in a hundred restarts. In a shorter run the limit is as much smaller,
but not below two: one message may well meet two restarts. Exit code 1 where one of these does not hold.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.crash.harness import CHILD
from tests.crash.judge import at_rest, judge, open_journal
from tests.crash.load import desks

from llegada_dev.cluster import API
from llegada_dev.infrastructure import infrastructure, say
from llegada_dev.ports import Ports, free_base
from llegada_dev.system import UNLIMITED, System, system

PATIENCE = 240.0
SERVICES = ("payment-worker", "notification-worker", API)
DESKS, PACE = 8, 0.8
"""So many front desks, each with a reservation every so many seconds: as much as the workers can do, and not more."""
MOST_OF_100 = 5


async def restarts(made: System, count: int, seed: int) -> tuple[list[int], list[str]]:
    """The accepted reservations, and the services that did not end by themselves."""
    source, killed = random.Random(seed), list[str]()
    async with desks(made, DESKS, PACE) as ids:
        for number in range(count):
            await asyncio.sleep(source.uniform(0.1, 1.0))
            process = made.cluster.services[SERVICES[number % len(SERVICES)]]
            process.ask_to_stop()
            if not await asyncio.to_thread(process.ended_by_itself, 60):
                killed.append(process.name)
            await asyncio.to_thread(process.start)
    return ids, killed


def handed_back(counts: Path) -> Counter[int]:
    """How many deliveries the broker marked with which `x-delivery-count`."""
    return Counter(map(int, counts.read_text().split())) if counts.exists() else Counter()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llegada-") as name:
        folder, ports = Path(name), Ports(free_base())
        folder.chmod(0o755)
        counts = folder / "delivery-counts"
        more = {**CHILD, **UNLIMITED, "QUEUE_CONCURRENCY": "20", "CRASH_DELIVERY_COUNTS": str(counts)}
        with infrastructure(folder, ports) as found, system(found, folder, ports, latency="0.1-0.5", more=more) as made:
            open_journal(made)
            ids, killed = asyncio.run(restarts(made, chosen.restarts, chosen.seed))
            say(f"{len(ids)} reservations during {chosen.restarts} restarts")
            rested = at_rest(made, PATIENCE)
            result, counted = judge(made, ids), handed_back(counts)
    limit = max(MOST_OF_100 * chosen.restarts // 100, 2)
    most = max(counted, default=0)
    print(
        f"{chosen.restarts} restarts, {len(ids)} reservations, {result}; had to be killed: {killed or 'none'};"
        f" x-delivery-count at most {most} (limit {limit}), deliveries by count {dict(counted)}"
    )
    if not rested:
        print(f"it did not come to rest within {PATIENCE:.0f} s")
    well = rested and not (result.lost or result.doubled or result.unknown or killed) and most <= limit
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

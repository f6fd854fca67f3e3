"""Everything at random under load, in rounds; the sandbox's ledger is the judge of each.

    python -m tests.crash.campaign [--messages 300] [--round 5000] [--seed N] [--write] [--short-leases]

A round makes reservations through the API while services are killed and stopped, broker and database restarted and
killed, connections cut and delayed (a TCP proxy lies before both), and messages published twice and out of order. It
ends when everything has come out and lies at rest; then it is judged, and written with `--write`: a run that is cut off
keeps its whole rounds, and the next one adds to them. The seed decides what happens in which order, and for how long.
Exit code 1 where something was lost, or doubled without a logged unknown outcome.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
from tests.crash.disturbances import Disturber
from tests.crash.harness import CHILD, REPLICATED, SHORT_LEASE
from tests.crash.judge import at_rest, judge, last_id, open_journal, query
from tests.crash.load import client_of, create
from tests.crash.proxy import Proxy
from tests.crash.report import STORE, Run, write
from tests.crash.result import Result

from llegada.messaging.effects import LEASE
from llegada_dev.infrastructure import Infrastructure, infrastructure, say
from llegada_dev.ports import Ports, free_base
from llegada_dev.system import UNLIMITED, system

PATIENCE = 400.0
"""Seconds without any progress until a round counts as stuck: leases, breakers and retries end long before."""
BACKLOG = 400
"""Reservations that may be on their way at once: the load lasts as long as the disturbances."""
AT_ONCE = 20
EFFECTS = 2
"""Of one reservation: its link, and the message about it."""
_DONE = "select count(*) from reservation_api.reservations where id > %s and processing_status = 'completed'"


class Round:
    """Some thousand reservations, disturbed as `seed` says."""

    def __init__(self, disturber: Disturber, first: int, count: int, seed: int, kills: int, copies: Path) -> None:
        self._disturber = disturber
        self._made = disturber.made
        self._numbers = range(first, first + count)
        self._plan = disturber.plan(random.Random(seed), kills)
        self._copies = copies
        self._accepted: list[int] = []
        self._done = 0
        self._room = asyncio.Semaphore(BACKLOG)
        httpx.delete(f"{self._made.sandbox}/_sandbox/effects", timeout=60, trust_env=False).raise_for_status()
        open_journal(self._made)
        self._after = last_id(self._made)

    async def run(self) -> tuple[Result, Counter[str], bool]:
        """The judgement, what was done meanwhile, and whether everything came to rest."""
        copies_before, self._disturber.tally = _size(self._copies), Counter()
        making = asyncio.create_task(self._make())
        for number, (words, disturbance) in enumerate(self._plan, start=1):
            await self._until(len(self._numbers) * number // (len(self._plan) + 1), making)
            say(f"{self._done} of {len(self._numbers)} done: {words}")
            await disturbance()
        await self._disturber.calm()
        await self._until(len(self._numbers), making)
        rested = await asyncio.to_thread(at_rest, self._made, PATIENCE)
        if not making.done():
            making.cancel()
        tally = self._disturber.tally
        tally["duplicates"] = _size(self._copies) - copies_before
        return judge(self._made, self._accepted, self._after), tally, rested and making.done()

    async def _make(self) -> None:
        waiting = iter(self._numbers)
        async with client_of(self._made) as client:

            async def desk() -> None:
                for number in waiting:
                    await self._room.acquire()
                    self._accepted.append(await create(client, number))

            await asyncio.gather(*(desk() for _ in range(AT_ONCE)))

    async def _until(self, wanted: int, making: "asyncio.Task[None]") -> None:
        """Wait until so many are done; without progress for a long time, go on all the same: the judge will say it."""
        progress = time.monotonic()
        while self._done < wanted and time.monotonic() - progress < PATIENCE:
            if making.done():
                making.result()
            if (done := await asyncio.to_thread(self._look)) > self._done:
                for _ in range(done - self._done):
                    self._room.release()
                self._done, progress = done, time.monotonic()
            await asyncio.sleep(0.2)

    def _look(self) -> int:
        self._made.cluster.restart_dead()
        try:
            return int(query(self._made, _DONE, self._after)[0][0])
        except psycopg.OperationalError:
            return self._done


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def staged(chosen: argparse.Namespace) -> Iterator[tuple[Disturber, Path]]:
    """All processes, with a proxy before broker and database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llegada-")))
        folder.chmod(0o755)  # for the user that PostgreSQL runs as
        ports = Ports(free_base())
        found = stack.enter_context(infrastructure(folder, ports))
        behind, proxies = found, {}
        if found.database is not None:
            proxies["database"] = stack.enter_context(Proxy(ports.base + 90, ports.database).running())
            url = found.database_url.replace(f":{ports.database}/", f":{ports.base + 90}/")
            behind = replace(behind, database_url=url)
        if found.broker is not None:
            proxies["broker"] = stack.enter_context(Proxy(ports.base + 91, ports.amqp).running())
            behind = replace(behind, amqp=found.broker.url.replace(f":{ports.amqp}/", f":{ports.base + 91}/"))
        copies = folder / "copies"
        more = {
            **CHILD, **UNLIMITED, "QUEUE_CONCURRENCY": "20", "CRASH_COPIES": str(chosen.copies),
            "CRASH_COUNT": str(copies),
            "NOTIFICATION_WORKER_WHATSAPP_GRACE_SECONDS": "5" if chosen.short_leases else "60",
            "CRASH_LEASE": SHORT_LEASE if chosen.short_leases else "0",
        }  # fmt: skip
        made = stack.enter_context(
            system(behind, folder, ports, latency=chosen.latency, more=more, replicas=REPLICATED)
        )
        lease = float(SHORT_LEASE) if chosen.short_leases else LEASE.total_seconds()
        yield Disturber(replace(made, infrastructure=found), found, proxies, lease), copies


def campaign(chosen: argparse.Namespace, seed: int) -> tuple[Result, Counter[str], bool]:
    total, tally, well = Result(), Counter[str](), True
    with staged(chosen) as (disturber, copies):
        version = _version(disturber.found)
        while EFFECTS * total.reservations < chosen.messages:
            left = chosen.messages // EFFECTS - total.reservations
            started = time.monotonic()
            count = min(left, chosen.round)
            one_round = Round(disturber, total.reservations, count, seed, chosen.kills, copies)
            result, done, rested = asyncio.run(one_round.run())
            seconds = time.monotonic() - started
            total, tally, well = total + result, tally + done, well and rested and not result.lost + result.doubled
            say(f"seed {seed}: {EFFECTS * count} messages in {seconds:.0f} s, {result}, {dict(done)}")
            if not rested:
                say("this round did not come to rest, and is not written")
            elif chosen.write:
                write(Run(result, done, version, seed=seed))
            if not well:
                break
            seed += 1
    return total, tally, well


def _version(found: Infrastructure) -> str:
    return str(httpx.get(f"{found.management}/api/overview", timeout=10).json()["rabbitmq_version"])


def _next_seed() -> int:
    """One that no written round had."""
    return max(json.loads(STORE.read_text())["seeds"], default=0) + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300, help="accepted effects, two of each reservation")
    parser.add_argument("--round", type=int, default=5000, help="reservations of one round")
    parser.add_argument("--kills", type=int, default=1, help="of each service in each round")
    parser.add_argument("--seed", type=int, help="of the first round; without it, one that was never written")
    parser.add_argument("--copies", type=float, default=0.03, help="share of messages that are published twice")
    parser.add_argument("--latency", default="0.02-0.1", help="seconds that providers take")
    parser.add_argument("--short-leases", action="store_true", help=f"of {SHORT_LEASE} s, so that a run can be short")
    parser.add_argument("--write", action="store_true", help="add each round to docs/reliability.json and .md")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it has started, as Ctrl-C does
    result, tally, well = campaign(chosen, chosen.seed or _next_seed())
    print(json.dumps({**vars(result), **tally}))
    print(f"{EFFECTS * result.reservations} messages: {result}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())

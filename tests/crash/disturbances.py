"""What is done to a system under load: its processes, its broker, its database, and the connections between them."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.crash.proxy import Proxy

from llegada_dev.infrastructure import Infrastructure, say
from llegada_dev.system import System

Disturbance = Callable[[], Awaitable[None]]


@dataclass
class Disturber:
    """`found`: broker and database themselves, not the proxies. `lease`: seconds that an effect's lease lives.

    A stopped process resumes by itself while the next disturbances go on; `calm` waits for the last one.
    """

    made: System
    found: Infrastructure
    proxies: dict[str, Proxy]
    lease: float
    tally: Counter[str] = field(default_factory=Counter)
    _resuming: set[asyncio.Task[None]] = field(default_factory=set)

    def plan(self, source: random.Random, kills: int) -> Sequence[tuple[str, Disturbance]]:
        """Every kind at least once, in an order and with times that the seed decides."""
        names = sorted(self.made.cluster.services)
        all_of_them: list[tuple[str, Disturbance]] = [
            (f"kill {name}", partial(self.kill, name)) for name in names for _ in range(kills)
        ]
        stopped = source.sample([name for name in names if "worker" in name], 2)
        longer, shorter = self.lease * source.uniform(1.1, 1.4), self.lease * source.uniform(0.1, 0.6)
        api = source.uniform(0.5, 3)
        for name, seconds in ((stopped[0], longer), (stopped[1], shorter), ("reservation-api", api)):
            all_of_them.append((f"stop {name} for {seconds:.0f} s", partial(self.stop, name, seconds)))
        for name, proxy in self.proxies.items():
            seconds, wait = source.uniform(0.2, 3), source.uniform(0.02, 0.3)
            all_of_them.append((f"cut the {name} off for {seconds:.1f} s", partial(self.cut, proxy, seconds)))
            all_of_them.append((f"cut all connections to the {name}", partial(self.cut, proxy, 0)))
            all_of_them.append((f"delay the {name} by {wait:.2f} s", partial(self.delay, proxy, wait, 3)))
        for gracefully in (True, False):
            how = "restart" if gracefully else "kill"
            if self.found.broker is not None:
                all_of_them.append((f"{how} the broker", partial(self.restart_broker, gracefully=gracefully)))
            if self.found.database is not None:
                all_of_them.append((f"{how} the database", partial(self.restart_database, gracefully=gracefully)))
        source.shuffle(all_of_them)
        return all_of_them

    async def kill(self, name: str) -> None:
        """kill -9; started again as a cluster would."""
        process = self.made.cluster.services[name]
        if process.running:
            self.made.cluster.kill(name)
            self.tally["kills"] += 1
        await asyncio.to_thread(process.wait_stopped, 5)
        process.spawn()

    async def stop(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: for the rest of the world it is gone, for itself no time has passed."""
        process = self.made.cluster.services[name]
        if not process.running:
            return
        pid = process.pid
        process.signal(signal.SIGSTOP)
        self.tally["stops"] += 1

        async def resume() -> None:
            await asyncio.sleep(seconds)
            if process.running and process.pid == pid:  # it may have been killed meanwhile
                process.signal(signal.SIGCONT)

        task = asyncio.create_task(resume())
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    async def cut(self, proxy: Proxy, seconds: float) -> None:
        """End all connections; for so many seconds no new one comes about."""
        proxy.refusing = seconds > 0
        proxy.cut()
        self.tally["cuts"] += 1
        await asyncio.sleep(seconds)
        proxy.refusing = False

    async def delay(self, proxy: Proxy, wait: float, seconds: float) -> None:
        proxy.delay = wait
        self.tally["delays"] += 1
        await asyncio.sleep(seconds)
        proxy.delay = 0.0

    async def restart_broker(self, *, gracefully: bool) -> None:
        broker = self.found.broker
        assert broker is not None  # the plan has looked
        await asyncio.to_thread(broker.stop if gracefully else broker.kill)
        self.tally["broker_restarts"] += 1
        await asyncio.to_thread(broker.start)

    async def restart_database(self, *, gracefully: bool) -> None:
        database = self.found.database
        assert database is not None  # the plan has looked
        await asyncio.to_thread(database.stop if gracefully else database.kill)
        self.tally["database_restarts"] += 1
        await asyncio.to_thread(database.start)

    async def calm(self) -> None:
        """No disturbance is left."""
        if self._resuming:
            say(f"{len(self._resuming)} processes are still stopped")
            await asyncio.gather(*self._resuming)

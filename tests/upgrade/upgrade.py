"""From the previous release to this one and back, under load, with messages in flight at each step.

    python -m tests.upgrade.upgrade [--seconds 4]

1. The previous release runs; guests book without a pause until the end of 4.
2. The new code migrates, declares and gives rights beside it, as the chart's job does.
3. New processes start beside the old ones; the old ones are drained (SIGTERM). This release is alone.
4. Rollback: old processes start beside the new ones, on the new schema; the new ones are drained.
5. The previous release is alone on the new schema. Everything comes to rest, and the sandbox's ledger judges: nothing
   lost, nothing doubled, no outcome unknown. Then a guest's whole stay must come out: the previous release's own demo.
6. The upgrade once more: what only the new release consumes comes out too. No dead letter, no effect beyond.

No process may have to be killed, and at each step work must have been in hand. Exit code 1 where one does not hold.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable

import httpx
from tests.crash.judge import at_rest, effects_of, judge, query
from tests.crash.load import desks
from tests.upgrade.previous import checkout

from llegada_dev.cluster import API, THIS, Release
from llegada_dev.demo import PHONE
from llegada_dev.infrastructure import say
from llegada_dev.server import ServerProcess
from llegada_dev.system import UNLIMITED, System, llegada, temporary_system

DESKS, PACE = 5, 0.7
PATIENCE = 120.0
_STAY = """
import json, sys, types
from llegada_dev.demo import whole_stay
sys.exit(0 if whole_stay(types.SimpleNamespace(**json.loads(sys.argv[1]))) else 1)
"""
_IN_FLIGHT = "select count(*) from reservation_api.reservations where processing_status <> 'completed'"
_DEAD = "select count(*) from reservation_api.dead_letters"


class Rollout:
    """Both releases' processes, and the addresses where requests may go."""

    def __init__(self, made: System, previous: Release) -> None:
        self._made = made
        self._running = made.cluster.services
        self.old = dict(self._running)
        self.apis = [made.api]
        self.killed: list[str] = []
        self.in_flight: list[int] = []
        self._previous = previous

    def prepare(self) -> None:
        """This release's migrations, topology and rights, while the previous one works."""
        self._made.preparation.prepare(THIS)
        self.new = {name: self._made.add(name, 2) for name in THIS.services}
        for process in self.new.values():
            self._running.pop(process.name)

    def replace(self, leaving: dict[str, ServerProcess], coming: dict[str, ServerProcess]) -> None:
        """Beside each other first, then the leaving ones are drained, all at once."""
        for process in coming.values():
            process.spawn()
            self._running[process.name] = process
        for process in coming.values():
            process.wait_ready(90)
        self.apis.append(self._address(coming[API]))
        self.apis.pop(0)
        self.in_flight.append(int(query(self._made, _IN_FLIGHT)[0][0]))
        for process in leaving.values():
            self._running.pop(process.name)
            process.ask_to_stop()
        self.killed += [process.name for process in leaving.values() if not process.ended_by_itself(60)]

    def old_code_accepts_the_schema(self) -> None:
        """What its pods' initContainers ask before they start."""
        environment = {**self._made.preparation.common}
        llegada(environment, "wait", "--seconds", "0", release=self._previous)

    def stay(self) -> bool:
        """The previous release's own demo, against its own API."""
        made = self._made
        known = {"api": self._address(self.old[API]), "sandbox": made.sandbox, "admin_token": made.admin_token}
        command = [str(self._previous.python), "-c", _STAY, json.dumps(known)]
        return subprocess.run(command, check=False).returncode == 0

    def _address(self, process: ServerProcess) -> str:
        return f"http://127.0.0.1:{self._made.cluster.ports[process.name]}"


async def upgrade_and_back(made: System, rollout: Rollout, seconds: float) -> list[int]:
    """The accepted reservations."""

    async def step(words: str, *work: Callable[[], None]) -> None:
        say(f"{len(ids)} reservations; {words}")
        for one in work:
            await asyncio.to_thread(one)
        await asyncio.sleep(seconds)

    async with desks(made, DESKS, PACE, rollout.apis) as ids:
        await asyncio.sleep(seconds)
        await step("migrating with the new code, while the old one works", rollout.prepare)
        await step("new processes beside old ones, then the old ones are drained",
                   lambda: rollout.replace(rollout.old, rollout.new))  # fmt: skip
        await step("rollback: old processes beside new ones, then the new ones are drained",
                   rollout.old_code_accepts_the_schema, lambda: rollout.replace(rollout.new, rollout.old))  # fmt: skip
    return ids


def queues_of(made: System) -> set[str]:
    answer = httpx.get(f"{made.infrastructure.management}/api/queues", params={"columns": "name"}, timeout=20)
    return {queue["name"] for queue in answer.json()}


def others(made: System, before: list[dict[str, object]]) -> list[dict[str, object]]:
    """Effects since `before` that the demo's guest did not ask for."""
    known = {effect["id"] for effect in before}
    since = [effect for effect in effects_of(made) if effect["id"] not in known]
    links = [effect for effect in since if (effect["provider"], effect["operation"]) == ("bold", "create_link")]
    messages = [e for e in since if e["provider"] == "whatsapp" and e["recipient"] != PHONE.removeprefix("+")]
    return messages + links[1:]


def tried(made: System, previous: Release, seconds: float) -> bool:
    known, rollout = queues_of(made), Rollout(made, previous)
    ids = asyncio.run(upgrade_and_back(made, rollout, seconds))
    rested = at_rest(made, PATIENCE, known)
    result, before = judge(made, ids), effects_of(made)
    say("the previous release is alone on the new schema: its own demo")
    stayed = rollout.stay()
    say("the upgrade once more")
    rollout.replace(rollout.old, rollout.new)
    rested = at_rest(made, PATIENCE) and rested
    dead, beyond = int(query(made, _DEAD)[0][0]), others(made, before)
    print(
        f"{len(ids)} reservations, {result}; dead letters: {dead}; had to be killed: {rollout.killed or 'none'};"
        f" unfinished when processes were told to end: {rollout.in_flight};"
        f" a whole stay by old code on the new schema: {'came out' if stayed else 'did not come out'};"
        f" effects afterwards that nobody asked for: {beyond or 'none'}"
    )
    if not rested:
        print(f"it did not come to rest within {PATIENCE:.0f} s")
    well = rested and stayed and not (dead or beyond or rollout.killed)
    return well and all(rollout.in_flight[:2]) and not (result.lost or result.doubled or result.unknown)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="under load after each step")
    chosen = parser.parse_args()
    previous = checkout()
    more = {**UNLIMITED, "LOG_LEVEL": "WARNING"}
    with temporary_system(latency="0.2-1", more=more, release=previous) as made:
        return 0 if tried(made, previous, chosen.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())

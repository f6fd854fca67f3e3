"""`llegada-dev drill`: breaks a running system on purpose, and sees each alert fire and go away again."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from llegada_dev import rules
from llegada_dev.drills import DRILLS, SHORT, Drill, Scene
from llegada_dev.infrastructure import infrastructure, say
from llegada_dev.monitoring import Monitoring, monitoring
from llegada_dev.ports import Ports, free_base
from llegada_dev.system import System, system

_PATIENCE = 480.0  # seconds for an alert to fire, and to go away again


_SYNTHETIC = {"SYNTHETIC_ORGANIZATION": "9000"}


class DrillFailed(Exception):  # noqa: N818 - says what is the case
    """An alert did not fire, or did not go away."""


@contextmanager
def watched_system(more: Mapping[str, str] | None = None) -> Iterator[tuple[System, Monitoring]]:
    """A whole system of its own, and a Prometheus and an Alertmanager that see all of it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llegada-drill-")))
        folder.chmod(0o755)  # for the user that PostgreSQL runs as
        ports = Ports(free_base())
        found = stack.enter_context(infrastructure(folder, ports))
        made = stack.enter_context(system(found, folder, ports, more={**_SYNTHETIC, **(more or {})}))
        watch = stack.enter_context(monitoring(made, folder, ports, rules.compressed()))
        _until(lambda: len(watch.healthy_targets()) == len(made.cluster.ports) + 1, "every target is scraped")
        yield made, watch


def drill(names: Sequence[str] = (), *, short: bool = False) -> int:
    """All drills, the short ones, or those for the alerts that are named; exit code 1 where one fails."""
    chosen = [d for d in (SHORT if short else DRILLS) if not names or d.alerts & set(names)]
    say(f"drill: time is compressed {rules.FACTOR} times (for: and ranges; thresholds are the real ones)")
    failed = []
    with watched_system() as (made, watch), Scene(made) as scene:
        _until(lambda: not watch.alerts(), "quiet before the first drill")
        for one in chosen:
            try:
                run(one, scene, watch)
            except DrillFailed as failure:
                say(f"  FAILED: {failure}")
                failed.append(one.name)
    say(f"drill: {len(chosen) - len(failed)} of {len(chosen)} as they should be")
    return 1 if failed else 0


def run(one: Drill, scene: Scene, watch: Monitoring) -> None:
    """Quiet before, every one of its alerts while it is broken, quiet after. Raises DrillFailed."""
    wanted = ", ".join(sorted(one.alerts))
    _until(lambda: not one.alerts & watch.alerts(), f"{wanted} quiet before")
    say(f"drill: {one.name} …")
    seen: set[str] = set()
    started = time.monotonic()

    def fired() -> bool:
        seen.update(watch.alerts())
        return one.alerts <= seen

    with one.broken(scene):
        in_time = _within(fired)
        fired_after = time.monotonic() - started
    if not in_time:
        raise DrillFailed(f"{one.name}: {wanted} must fire within {_PATIENCE:.0f} s; {_listed(seen)} fired")
    ended = time.monotonic()
    _until(lambda: not one.alerts & watch.alerts(), f"{wanted} gone after {one.name} is over")
    others = _listed(seen - one.alerts)
    say(f"  {wanted} after {fired_after:.0f} s, gone after {time.monotonic() - ended:.0f} s; beside it: {others}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _until(check: Callable[[], bool], what: str) -> None:
    if not _within(check):
        raise DrillFailed(f"not within {_PATIENCE:.0f} s: {what}")


def _within(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while not (true := check()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return true

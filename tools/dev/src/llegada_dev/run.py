"""`llegada-dev run`: everything on this machine, followed live, supervised, and ended on Ctrl-C."""

import os
import signal
import time
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from types import FrameType

from llegada_dev.cluster import ROOT, write_atomically
from llegada_dev.demo import whole_stay
from llegada_dev.infrastructure import infrastructure, say
from llegada_dev.ports import DEFAULT_BASE, Ports
from llegada_dev.server import StartFailed
from llegada_dev.system import System, system

_QUICK = 5.0  # seconds: a process that dies this soon after its start is started again more slowly


class _Stop(Exception):  # noqa: N818 - Ctrl-C or SIGTERM
    pass


def run(*, demo: bool, embedded: bool, latency: str) -> int:
    """Until Ctrl-C or SIGTERM; exit code 1 when the start fails."""
    folder, ports = ROOT / ".llegada", Ports(int(os.environ.get("PORT_BASE", DEFAULT_BASE)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        with ExitStack() as stack:
            stack.enter_context(_only_one(folder))
            ports.check_free()
            found = stack.enter_context(infrastructure(folder, ports, with_broker=not embedded))
            made = stack.enter_context(system(found, folder, ports, latency=latency, queue=not embedded, gateway=True))
            target = folder / "run.json"
            stack.callback(target.unlink, missing_ok=True)
            write_atomically(target, made.described())
            _greet(made)
            if demo:
                whole_stay(made)
            _supervise(made, target)
    except _Stop:
        say("ended")
    except StartFailed as error:
        say(str(error))
        return 1
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # the end itself is not interrupted
        signal.signal(number, signal.SIG_IGN)
    say("ending …")
    raise _Stop


class _only_one:  # noqa: N801 - reads as a word in `with`
    """A second run in the same folder would take the first one's ports and data."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run.pid"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            pid = int(self._path.read_text() or 0)
            if pid and Path(f"/proc/{pid}").exists():
                raise StartFailed(f"another `make run` works in this folder (process {pid}); end it first")
        self._path.write_text(str(os.getpid()))

    def __exit__(self, *_error: object) -> None:
        self._path.unlink(missing_ok=True)


def _greet(made: System) -> None:
    today = date.today()  # noqa: DTZ011 - an example for a person at this machine
    body = (
        f'{{"guestName": "Ana", "contact": "+573001234567", "amount": 180000, '
        f'"checkInDate": "{today + timedelta(days=1)}", "checkOutDate": "{today + timedelta(days=3)}"}}'
    )
    front = made.gateway.url if made.gateway else made.api
    inner = made.gateway.maintenance if made.gateway else made.api
    console = made.infrastructure.console or "none: everything runs in one process"
    print(
        f"\nLlegada is ready.\n  gateway  {front}   (documentation: {front}/api/docs; operators: {inner})\n"
        f"  API      {made.api}   (directly)\n"
        f"  console  {console}\n  sandbox  {made.sandbox}/_sandbox/effects\n  token    {made.token}\n\n"
        f"curl -s {front}/api/reservations -H 'Authorization: Bearer {made.token}' \\\n"
        f"  -H 'Content-Type: application/json' -d '{body}'\n",
        flush=True,
    )


def _supervise(made: System, target: Path) -> None:
    """Start again what dies, as a cluster would; slower where it dies at once."""
    delay, last = 0.2, time.monotonic()
    while True:
        time.sleep(0.2)
        dead = made.cluster.restart_dead()
        if not dead:
            continue
        say(f"started again: {', '.join(dead)}")
        write_atomically(target, made.described())
        delay = min(delay * 2, 10.0) if time.monotonic() - last < _QUICK else 0.2
        last = time.monotonic()
        time.sleep(delay)

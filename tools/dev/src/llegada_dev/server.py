"""A server process of ours: started in a session of its own, ended by its process id, its output in a file."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path


class StartFailed(Exception):  # noqa: N818 - says what is the case
    """A process did not become ready; the message holds the last lines that it said."""


def any_alive(pids: Iterable[int]) -> bool:
    """A zombie is not: it holds nothing any more, and only waits for its parent to take notice."""
    command = ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))]
    states = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    return any(not state.startswith("Z") for state in states)


class ServerProcess:
    """`ready` is asked until it answers true. Start again after `stop` or `kill` is possible."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        ready: Callable[[], bool],
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every start would compile everything again
        self._log = log
        self._ready = ready
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise StartFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def change_environment(self, changes: Mapping[str, str]) -> None:
        """For the next start."""
        self._environment.update(changes)

    def start(self, seconds: float = 60) -> None:
        """Returns when it is ready; StartFailed with its last words otherwise."""
        self.spawn()
        self.wait_ready(seconds)

    def spawn(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                cwd="/" if self._user else None,
            )

    def wait_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self._ready():
            if not self.running:
                raise StartFailed(f"{self.name} ended while it started:\n{self.last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StartFailed(f"{self.name} was not ready within {seconds:.0f} s:\n{self.last_words()}")
            time.sleep(0.05)

    def stop(self, seconds: float = 25) -> None:
        """Ask it to end; kill its whole session when it does not."""
        self.ask_to_stop()
        self.wait_stopped(seconds)

    def ask_to_stop(self) -> None:
        if self.running and self._process is not None:
            self._process.send_signal(self._stop_signal)

    def wait_stopped(self, seconds: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._end_session()
        self._process = None

    def ended_by_itself(self, seconds: float) -> bool:
        """Whether it ends within `seconds` after it was asked to; it is killed otherwise."""
        assert self._process is not None  # it was asked
        try:
            return self._process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the process and everything of its session."""
        if self._process is None:
            return
        self._end_session()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the whole session: a broker or a database is several processes."""
        os.killpg(self.pid, number)

    def last_words(self, lines: int = 15) -> str:
        if not self._log.exists():
            return "(it said nothing)"
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def _end_session(self) -> None:
        assert self._process is not None  # callers have looked
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

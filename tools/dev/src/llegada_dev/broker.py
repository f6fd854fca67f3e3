"""A private RabbitMQ node on the machine's own `rabbitmq-server`: own ports, data, name and epmd."""

import os
import signal
import subprocess
from pathlib import Path

import httpx

from llegada_dev import packages
from llegada_dev.server import ServerProcess, StartFailed

_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The server itself: the wrapper on PATH insists on a user of its own."""


class Broker:
    """`start`, `stop` and `kill` keep data and ports, so that tests can take it away and give it back."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"amqp://guest:guest@127.0.0.1:{port}/"
        self.management = f"http://guest:guest@127.0.0.1:{port + 3}"
        self.console = f"http://127.0.0.1:{port + 3}/"
        self._node = f"llegada-{port}@localhost"
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "broker.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{port}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port + 3}\n"
            f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port + 4}\n"
            "disk_free_limit.absolute = 200MB\nlog.console = false\n"
        )
        (folder / "plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        environment = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(port + 1),
            "ERL_EPMD_PORT": str(port + 2),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "broker.conf"),
            # One Erlang scheduler thread per core without busy waiting: other processes need the cores too.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
        self._epmd = {**os.environ, **environment}
        self._server = ServerProcess("RabbitMQ", [str(_SERVER)], environment, folder / "server.log", self._ready)

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def running(self) -> bool:
        return self._server.running

    def start(self) -> None:
        """Ready means: the management API answers."""
        self._server.start(90)

    def stop(self) -> None:
        self._server.stop(30)
        self._end_epmd()

    def kill(self) -> None:
        """kill -9 of the node, as a crash would; data stays."""
        self._server.kill()

    def signal(self, number: signal.Signals) -> None:
        self._server.signal(number)

    def limit_disk(self, free: str) -> None:
        """Ask for so many bytes of free disk: more than there are raises the alarm, until the next start."""
        command = [str(_SERVER.with_name("rabbitmqctl")), "-n", self._node, "set_disk_free_limit", free]
        done = subprocess.run(command, env=self._epmd, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartFailed(f"rabbitmqctl set_disk_free_limit failed:\n{done.stdout}{done.stderr}")

    def _ready(self) -> bool:
        try:
            answer = httpx.get(f"{self.management}/api/health/checks/port-listener/{self._port}", timeout=2)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    @property
    def _port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].rstrip("/"))

    def _end_epmd(self) -> None:
        """The port mapper outlives its node; ours serves no other one."""
        subprocess.run(["epmd", "-kill"], env=self._epmd, capture_output=True, check=False)


def available() -> bool:
    return _SERVER.exists()


def install() -> bool:
    """Debian's package, where that is possible."""
    return packages.install(["rabbitmq-server"]) and available()

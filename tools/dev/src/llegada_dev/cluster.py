"""All processes of Llegada on one machine: sandbox and services, each started, supervised and ended."""

import json
import os
import signal
import string
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import httpx

from llegada_dev.server import ServerProcess

ROOT = Path(__file__).parents[4]
API = "reservation-api"


@dataclass(frozen=True)
class Release:
    """A checkout with an environment of its own: what its processes run, and the settings that it ships for them."""

    root: Path
    python: Path

    @property
    def services(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob("services/*/dev.env"))


THIS = Release(ROOT, Path(sys.executable))


def installed_services() -> list[str]:
    return sorted(entry.name for entry in entry_points(group="llegada.services"))


def dev_environment(service: str, values: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """`services/<name>/dev.env` with its placeholders filled in; an unknown placeholder is an error."""
    found: dict[str, str] = {}
    for line in (root / "services" / service / "dev.env").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name.strip()] = string.Template(value.strip()).substitute(values)
    return found


class Cluster:
    """`environment` is common to all services. Names are those of `pids`."""

    def __init__(self, environment: Mapping[str, str], api_port: int, services_port: int, log: Path) -> None:
        self._environment = environment
        self._log = log
        self.services: dict[str, ServerProcess] = {}
        self.ports: dict[str, int] = {}
        self._api_port = api_port
        self._next_port = services_port

    def add(self, service: str, own: Mapping[str, str], replica: int = 1, python: Path = THIS.python) -> ServerProcess:
        """The first replica has the service's name, the second is called `<service>-2`."""
        name = service if replica == 1 else f"{service}-{replica}"
        port = self._api_port
        if name != API:
            port, self._next_port = self._next_port, self._next_port + 1
        self.ports[name] = port
        environment = {**self._environment, **own, "HOST": "127.0.0.1", "PORT": str(port)}
        command = [str(python), "-m", "llegada.runtime", "run", service]
        ready = _Ready(f"http://127.0.0.1:{port}/health/ready")
        self.services[name] = ServerProcess(name, command, environment, self._log / f"{name}.log", ready)
        return self.services[name]

    def start(self) -> None:
        """All at once; returns when every one of them is ready."""
        for process in self.services.values():
            process.spawn()
        for process in self.services.values():
            process.wait_ready(60)

    def stop(self, seconds: float = 30) -> None:
        for process in self.services.values():
            process.ask_to_stop()
        deadline = time.monotonic() + seconds
        for process in self.services.values():
            process.wait_stopped(max(deadline - time.monotonic(), 0.1))

    def restart_dead(self) -> list[str]:
        """Start again what died; the names of those."""
        dead = [name for name, process in self.services.items() if not process.running]
        for name in dead:
            self.services[name].spawn()
        return dead

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.services.items() if process.running}

    def kill(self, service: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.services[service].pid, number)


class _Ready:
    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self) -> bool:
        try:
            return httpx.get(self._url, timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def sandbox(port: int, smtp_port: int, latency: str, log: Path) -> ServerProcess:
    command = [sys.executable, "-m", "provider_sandbox", "--port", str(port), "--smtp-port", str(smtp_port)]
    ready = _Ready(f"http://127.0.0.1:{port}/_sandbox/health")
    return ServerProcess("provider-sandbox", [*command, "--latency", latency], {}, log / "provider-sandbox.log", ready)


def write_atomically(path: Path, content: Mapping[str, object]) -> None:
    """Readers see the old file or the new one, never half of it."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)

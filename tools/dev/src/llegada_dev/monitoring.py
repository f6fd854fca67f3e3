"""A real Prometheus and Alertmanager (Debian's packages) that watch a running system on this machine."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from llegada_dev import packages
from llegada_dev.cluster import ROOT
from llegada_dev.infrastructure import say
from llegada_dev.ports import Ports
from llegada_dev.server import ServerProcess, StartFailed
from llegada_dev.system import System

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
ALERTMANAGER = ROOT / "deploy" / "prometheus" / "alertmanager.yaml"
_SECONDS = 1
"""Between scrapes, and between evaluations: a minute of an installation is a second here (rules.FACTOR)."""
_DETAILS = {"family": ["queue_coarse_metrics", "queue_consumer_count"]}


def program(name: str) -> str:
    """Where `prometheus`, `promtool` or `prometheus-alertmanager` is; installed where it is missing."""
    found = shutil.which(name)
    if found is None:
        say("monitoring: installing the packages prometheus and prometheus-alertmanager …")
        if not packages.install(["prometheus", "prometheus-alertmanager"]) or (found := shutil.which(name)) is None:
            raise StartFailed(f"{name} is missing, and cannot be installed here: install Debian's prometheus")
    return found


@dataclass(frozen=True)
class Monitoring:
    """Addresses of a Prometheus that scrapes each second, and of its Alertmanager."""

    prometheus: str
    alertmanager: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result vector; StartFailed where Prometheus refuses the expression."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}, timeout=30)
        if answer.status_code != httpx.codes.OK:
            raise StartFailed(f"{expression}: {answer.text}")
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def alerts(self) -> set[str]:
        """Names of the alerts that people are told of now: firing, arrived at Alertmanager, and not inhibited."""
        active = {"active": "true", "inhibited": "false", "silenced": "false"}
        answer = httpx.get(f"{self.alertmanager}/api/v2/alerts", params=active, timeout=30)
        return {alert["labels"]["alertname"] for alert in answer.raise_for_status().json()}

    def healthy_targets(self) -> set[str]:
        return {sample["metric"]["instance"] for sample in self.query("up == 1")}


@contextmanager
def monitoring(made: System, folder: Path, ports: Ports, rules: Mapping[str, Any]) -> Iterator[Monitoring]:
    """Scrapes every process of the system and its broker, and evaluates `rules`."""
    folder = folder / "monitoring"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules), sort_keys=False))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(made, ports)))
    found = Monitoring(f"http://127.0.0.1:{ports.prometheus}", f"http://127.0.0.1:{ports.prometheus + 1}")
    with ExitStack() as stack:
        for server in (_alertmanager(found, folder, ports), _prometheus(found, folder)):
            stack.callback(server.stop)
            server.start(60)
        yield found


def _configuration(made: System, ports: Ports) -> dict[str, Any]:
    if made.infrastructure.broker is None:
        raise StartFailed("the broker is not ours: its metrics, and stopping it, are out of reach")
    services = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"process": name}} for name, port in made.cluster.ports.items()
    ]
    broker = [{"targets": [f"127.0.0.1:{ports.amqp + 4}"]}]
    return {
        "global": {"scrape_interval": f"{_SECONDS}s", "evaluation_interval": f"{_SECONDS}s"},
        "rule_files": ["rules.yaml"],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports.prometheus + 1}"]}]}],
        },
        "scrape_configs": [
            {"job_name": "llegada", "honor_labels": True, "static_configs": services},
            {"job_name": "rabbitmq", "static_configs": broker},
            {
                "job_name": "rabbitmq-queues",
                "metrics_path": "/metrics/detailed",
                "params": _DETAILS,
                "static_configs": broker,
            },
        ],
    }


def _prometheus(found: Monitoring, folder: Path) -> ServerProcess:
    command = [
        program("prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={found.prometheus.removeprefix('http://')}",
    ]
    return ServerProcess("Prometheus", command, {}, folder / "prometheus.log", _Ready(f"{found.prometheus}/-/ready"))


def _alertmanager(found: Monitoring, folder: Path, ports: Ports) -> ServerProcess:
    quick = yaml.safe_load(ALERTMANAGER.read_text())
    quick["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    quick["global"] = {"resolve_timeout": "10s"}
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(quick))
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={folder}/alertmanager.yaml",
        f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={found.alertmanager.removeprefix('http://')}",
        f"--cluster.listen-address=127.0.0.1:{ports.prometheus + 2}",
    ]
    ready = _Ready(f"{found.alertmanager}/-/ready")
    return ServerProcess("Alertmanager", command, {}, folder / "alertmanager.log", ready)


class _Ready:
    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self) -> bool:
        try:
            return httpx.get(self._url, timeout=2).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

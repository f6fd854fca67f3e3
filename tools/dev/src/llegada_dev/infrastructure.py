"""Finds a broker and a database, or starts them; says in a line which and why."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from llegada_dev import broker as rabbitmq
from llegada_dev.broker import Broker
from llegada_dev.database import Database
from llegada_dev.ports import Ports


@dataclass(frozen=True)
class Infrastructure:
    """`amqp` is None where there is no broker at all; `broker` and `database` where we did not start them."""

    database_url: str
    amqp: str | None
    management: str | None
    console: str | None
    broker: Broker | None
    database: Database | None

    @property
    def environment(self) -> dict[str, str]:
        """What services and tests read."""
        known = {
            "DATABASE_URL": self.database_url,
            "AMQP_URL": self.amqp,
            "RABBITMQ_MANAGEMENT_URL": self.management,
            "LLEGADA_BROKER_PID": str(self.broker.pid) if self.broker else None,
            "LLEGADA_DATABASE_PID": str(self.database.pid) if self.database else None,
        }
        return {name: value for name, value in known.items() if value is not None}


@contextmanager
def infrastructure(folder: Path, ports: Ports, *, with_broker: bool = True) -> Iterator[Infrastructure]:
    """Given → Docker → the machine's own server and the wheel → installed → none. Ends what it started."""
    with ExitStack() as stack:
        database_url, database = _database(folder, ports, stack)
        found = _broker(folder, ports, stack) if with_broker else (None, None, None, None)
        amqp, management, console, broker = found
        yield Infrastructure(database_url, amqp, management, console, broker, database)


def _database(folder: Path, ports: Ports, stack: ExitStack) -> tuple[str, Database | None]:
    given = os.environ.get("DATABASE_URL")
    if given:
        say("database: the one that DATABASE_URL names")
        return given, None
    if docker_answers():
        from testcontainers.community.postgres import PostgresContainer  # slow to import, seldom needed

        say("database: PostgreSQL 17 in Docker")
        container = stack.enter_context(PostgresContainer("postgres:17", driver=None))
        return container.get_connection_url(), None
    say("database: PostgreSQL 18 from the Python wheel, in this project's folder (no Docker engine answers)")
    database = Database(folder / "database", ports.database)
    stack.callback(database.stop)
    database.start()
    return database.url, database


def _broker(folder: Path, ports: Ports, stack: ExitStack) -> tuple[str | None, str | None, str | None, Broker | None]:
    given = os.environ.get("AMQP_URL")
    if given:
        say("broker: the one that AMQP_URL names")
        management = os.environ.get("RABBITMQ_MANAGEMENT_URL") or _guess_management(given)
        return given, management, management, None
    if docker_answers():
        from testcontainers.community.rabbitmq import RabbitMqContainer

        say("broker: RabbitMQ 4 in Docker")
        container = RabbitMqContainer("rabbitmq:4-management").with_exposed_ports(5672, 15672)
        stack.enter_context(container)
        host = container.get_container_host_ip()
        management = f"http://guest:guest@{host}:{container.get_exposed_port(15672)}"
        return f"amqp://guest:guest@{host}:{container.get_exposed_port(5672)}/", management, management, None
    if not rabbitmq.available():
        say("broker: installing the package rabbitmq-server (about 15 s) …")
        if not rabbitmq.install():
            say("broker: none. No Docker engine, and rabbitmq-server cannot be installed here; everything runs in one")
            say("        process (QUEUE_ENABLED=false). For the full system: install rabbitmq-server, or set AMQP_URL.")
            return None, None, None, None
    say("broker: a private node of this machine's rabbitmq-server, in this project's folder")
    broker = Broker(folder / "broker", ports.amqp)
    stack.callback(broker.stop)
    broker.start()
    return broker.url, broker.management, broker.console, broker


def docker_answers() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=5, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _guess_management(amqp: str) -> str | None:
    parts = urlsplit(amqp)
    port = parts.port or 5672
    guess = 15672 if port == 5672 else port + 3  # noqa: PLR2004 - AMQP's own port
    url = f"http://{parts.username or 'guest'}:{parts.password or 'guest'}@{parts.hostname}:{guess}"
    try:
        answer = httpx.get(f"{url}/api/overview", timeout=2)
    except httpx.HTTPError:
        return None
    return url if answer.status_code == httpx.codes.OK else None


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

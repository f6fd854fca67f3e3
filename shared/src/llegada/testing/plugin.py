"""pytest plugin: real PostgreSQL and real RabbitMQ, one database and one virtual host per xdist worker.

The addresses come from `DATABASE_URL`, `AMQP_URL` and `RABBITMQ_MANAGEMENT_URL`; `make test` starts both servers
(`llegada-dev exec -- pytest`). No layer imports this package.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import httpx
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from llegada.messaging.transaction import Database
from llegada.runtime.database import SYSTEM_ROLE, engine, own_role
from llegada.runtime.discovery import installed
from llegada.runtime.logging import configure
from llegada.runtime.migrate import migrate

ServiceDatabase = Callable[[str], Awaitable[Database]]
EngineAs = Callable[[str, str], AsyncEngine]

_migrated: set[tuple[str, str]] = set()


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: run the tests with `make test`, or `llegada-dev exec -- pytest …`")
    return value


@pytest.fixture(autouse=True, scope="session")
def plain_logs() -> None:
    """Logs as in production: tracebacks without local variables, which may hold personal data."""
    configure("tests", "WARNING")


@pytest.fixture(scope="session")
def worker_name(request: pytest.FixtureRequest) -> str:
    """`gw0`, `gw1` … under xdist, `main` otherwise."""
    worker: str = getattr(request.config, "workerinput", {}).get("workerid", "main")
    return worker


@pytest.fixture(scope="session")
def database_url(worker_name: str) -> Iterator[str]:
    """A database of this worker's own on the server of DATABASE_URL; dropped at the end."""
    server = _required("DATABASE_URL")
    name = f"llegada_test_{worker_name}_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'create database "{name}"'.encode())
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    yield url
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)'.encode())


@pytest.fixture(scope="session")
def management_url() -> str:
    """RabbitMQ's management API, credentials included."""
    return _required("RABBITMQ_MANAGEMENT_URL")


@contextmanager
def _virtual_host(management_url: str, name: str) -> Iterator[str]:
    server = _required("AMQP_URL")
    user = make_url(server).username or "guest"
    with httpx.Client(base_url=management_url, timeout=30) as api:
        api.put(f"/api/vhosts/{name}").raise_for_status()
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        api.put(f"/api/permissions/{name}/{user}", json=everything).raise_for_status()
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        api.delete(f"/api/vhosts/{name}").raise_for_status()


@pytest.fixture(scope="session")
def broker_url(worker_name: str, management_url: str) -> Iterator[str]:
    """A virtual host of this worker's own on the broker of AMQP_URL; deleted at the end."""
    with _virtual_host(management_url, f"test-{worker_name}-{os.getpid()}") as url:
        yield url


@pytest.fixture(scope="module")
def own_broker_url(management_url: str) -> Iterator[str]:
    """A virtual host of this file's own, for tests that declare the queues of all services: elsewhere an event that
    nobody subscribes to would find a queue.
    """
    with _virtual_host(management_url, f"test-{uuid4()}") as url:
        yield url


@pytest_asyncio.fixture
async def engine_as(database_url: str) -> AsyncGenerator[EngineAs]:
    """An engine of a service's schema under a role; disposed of after the test."""
    engines: list[AsyncEngine] = []

    def make(package: str, role: str) -> AsyncEngine:
        engines.append(engine(database_url, package, role=role))
        return engines[-1]

    yield make
    for made in engines:
        await made.dispose()


@pytest_asyncio.fixture
async def service_database(database_url: str, engine_as: EngineAs) -> ServiceDatabase:
    """A service's schema, migrated and empty, under the role that the service acts as."""

    async def make(package: str) -> Database:
        keeps = any(one.package == package and one.keeps_dead_letters for one in installed().values())
        if (database_url, package) not in _migrated:
            await asyncio.to_thread(partial(migrate, package, database_url, oversees=keeps))
            _migrated.add((database_url, package))
        await asyncio.to_thread(_empty, database_url, package)
        return Database(engine_as(package, SYSTEM_ROLE if keeps else own_role(package)), package)

    return make


def _empty(url: str, package: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "select format('%%I.%%I', schemaname, tablename) from pg_tables"
            " where schemaname = %s and tablename <> 'alembic_version'",
            (package,),
        ).fetchall()
        if rows:
            names = ", ".join(row[0] for row in rows)
            connection.execute(f"truncate {names} restart identity cascade".encode())

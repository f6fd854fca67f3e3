"""Each service's database role and broker user may do what its subscriptions need, and nothing of another's: tried on
the real servers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import aio_pika
import httpx
import psycopg
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr
from sqlalchemy import make_url

from llegada.messaging.dead_letter_check import check
from llegada.messaging.envelope import Lane
from llegada.messaging.replays import Replayer
from llegada.messaging.rights import OPERATORS_USER, TOPOLOGY_USER, broker_rights
from llegada.messaging.topology import DEAD_LETTERS, EVENTS, dead_letter_queue, declare, queue_name, topology
from llegada.messaging.transaction import Database
from llegada.runtime.cli import main
from llegada.runtime.database import EMBEDDED_ROLE, SYSTEM_ROLE, engine, own_role
from llegada.runtime.discovery import installed
from llegada.runtime.migrate import OVERSEEN, RightsMissing, behind, embed, embedded, migrate
from llegada.runtime.restored import mend
from llegada.runtime.service import Resources
from llegada.runtime.settings import RuntimeSettings
from llegada_dev.rights import logins, passwords
from reservation_api.operations.queues import stats

SERVICES = installed()
WORKERS = sorted(name for name, service in SERVICES.items() if not service.keeps_dead_letters)
KEEPER = next(name for name, service in SERVICES.items() if service.keeps_dead_letters)


@pytest.fixture(scope="module")
def secrets_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return passwords(tmp_path_factory.mktemp("rights"))


@pytest.fixture(scope="module")
def database_of(database_url: str, secrets_of: Path) -> Iterator[dict[str, str]]:
    """Service → an address with its own login."""
    for service in SERVICES.values():
        migrate(service.package, database_url, oversees=service.keeps_dead_letters)
    logins(database_url, secrets_of, SERVICES)
    url = make_url(database_url)
    yield {
        name: url.set(username=own_role(s.package), password=(secrets_of / name).read_text()).render_as_string(
            hide_password=False
        )
        for name, s in SERVICES.items()
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        for service in SERVICES.values():
            connection.execute(f"alter role {own_role(service.package)} nologin".encode())


@pytest.fixture(scope="module")
def broker_of(own_broker_url: str, management_url: str, secrets_of: Path) -> Iterator[dict[str, str]]:
    """User → an address with its own credentials, in a virtual host that has the whole topology."""
    url = make_url(own_broker_url)
    apply = ["rights", "apply", "--management", management_url, "--vhost", str(url.database)]
    assert main([*apply, "--passwords", str(secrets_of)]) == 0
    users = [*SERVICES, TOPOLOGY_USER, OPERATORS_USER]
    found = {
        user: url.set(username=user, password=(secrets_of / user).read_text()).render_as_string(hide_password=False)
        for user in users
    }

    async def prepare() -> None:
        async with await aio_pika.connect(found[TOPOLOGY_USER]) as connection:
            wanted = topology({name: service.subscriptions for name, service in SERVICES.items()})
            await declare(await connection.channel(), wanted)

    asyncio.run(prepare())
    yield found
    with httpx.Client(base_url=management_url) as api:
        for user in users:
            api.delete(f"/api/users/{user}")


def other(worker: str) -> str:
    return WORKERS[(WORKERS.index(worker) + 1) % len(WORKERS)]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_role_works_its_own_schema(service: str, database_of: dict[str, str]) -> None:
    schema = SERVICES[service].package
    with psycopg.connect(database_of[service]) as connection:
        for table in ("outbox", "inbox", "effects"):
            connection.execute(f"select count(*) from {schema}.{table}".encode())
        connection.execute(f"delete from {schema}.outbox".encode())


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_is_refused_every_other_schema(worker: str, database_of: dict[str, str]) -> None:
    own = SERVICES[worker].package
    with psycopg.connect(database_of[worker], autocommit=True) as connection:
        for service in SERVICES.values():
            if service.package == own:
                continue
            for statement in ("select 1 from {}.inbox", "delete from {}.outbox", "select 1 from {}.alembic_version"):
                with pytest.raises(InsufficientPrivilege):
                    connection.execute(statement.format(service.package).encode())
            with pytest.raises(InsufficientPrivilege):
                connection.execute(f"set role {own_role(service.package)}".encode())
        for role in ("llegada_system", "llegada_app", "llegada_embedded"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(f"set role {role}".encode())


def tables(database_url: str, schema: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = %s", (schema,)).fetchall()
    return {name for (name,) in rows}


@pytest.mark.parametrize("role", ["none", "llegada_system", "llegada_app"])
@pytest.mark.parametrize("worker", WORKERS)
def test_the_api_is_refused_what_is_a_workers_under_each_of_its_roles(
    worker: str, role: str, database_url: str, database_of: dict[str, str]
) -> None:
    schema = SERVICES[worker].package
    every = tables(database_url, schema)
    assert {"outbox", "inbox", "effects", "breakers"} < every
    refused_statements = [f"select 1 from {schema}.{table}" for table in every - set(OVERSEEN)]
    refused_statements += [f"delete from {schema}.{table}" for table in every]
    refused_statements += [
        f"select body from {schema}.outbox",
        f"select * from {schema}.outbox",
        f"select reason from {schema}.inbox",
        f"update {schema}.outbox set exchange = exchange",
        f"update {schema}.inbox set outcome = outcome",
        f"insert into {schema}.inbox (subscriber) values ('x')",
        f"create table {schema}.extra (id int)",
        f"set role {own_role(schema)}",
        f"set role {EMBEDDED_ROLE}",
    ]
    with psycopg.connect(database_of[KEEPER], autocommit=True) as connection:
        connection.execute(f"set role {role}".encode())
        for statement in refused_statements:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement.encode())


async def test_what_is_left_to_the_api_is_enough_for_queues_replays_and_the_check(database_of: dict[str, str]) -> None:
    package = SERVICES[KEEPER].package
    schemas = {name: service.package for name, service in SERVICES.items()}
    made = engine(database_of[KEEPER], package, role=SYSTEM_ROLE)
    database = Database(made, package)
    try:
        await Replayer(database, schemas).step()
        async with database.transaction() as tx:
            assert (await check(tx, schemas)).missing == []
        settings = RuntimeSettings(database_url=SecretStr(database_of[KEEPER]))
        resources = Resources(settings, database, lambda _: made, None, schemas)
        assert set((await stats(resources))["outbox"]) == set(SERVICES)
    finally:
        await made.dispose()


def test_acting_for_all_is_given_on_purpose_and_reaches_everything(
    database_url: str, database_of: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = SERVICES[KEEPER].package
    assert not embedded(keeper, database_url)
    with pytest.raises(RightsMissing, match=f"grant {EMBEDDED_ROLE} to {own_role(keeper)};"):
        embed(keeper, database_of[KEEPER])
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert main(["migrate", KEEPER, "--embedded"]) == 0
    try:
        with psycopg.connect(database_of[KEEPER], autocommit=True) as connection:
            connection.execute(f"set role {EMBEDDED_ROLE}".encode())
            for service in SERVICES.values():
                for table in tables(database_url, service.package) - {"alembic_version"}:
                    connection.execute(f"select count(*) from {service.package}.{table}".encode())
                    connection.execute(f"delete from {service.package}.{table} where false".encode())
            connection.execute(
                b"insert into reservation_api.organizations (organization_id, name, time_zone, language, channels)"
                b" values (1, 'A', 'America/Bogota', 'es', '{}') on conflict do nothing"
            )
            seen = connection.execute(b"select count(*) from reservation_api.organizations").fetchone()
            assert seen is not None
            assert seen[0] > 0, "row-level security knows it as the system role"
        capsys.readouterr()
        assert main(["migrate", KEEPER]) == 0
        assert f"revoke {EMBEDDED_ROLE} from {own_role(keeper)};" in capsys.readouterr().out
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"revoke {EMBEDDED_ROLE} from {own_role(keeper)}".encode())
    assert not embedded(keeper, database_url)


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_changes_no_schema(worker: str, database_of: dict[str, str]) -> None:
    own = SERVICES[worker].package
    with psycopg.connect(database_of[worker], autocommit=True) as connection:
        for statement in (f"create table {own}.extra (id int)", f"drop table {own}.outbox", "create schema extra"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_person_sees_one_organization_also_under_the_services_own_login(database_of: dict[str, str]) -> None:
    with psycopg.connect(database_of[KEEPER]) as connection:
        connection.execute(
            b"insert into reservation_api.organizations (organization_id, name, time_zone, language, channels)"
            b" values (1, 'A', 'America/Bogota', 'es', '{}') on conflict do nothing"
        )
        connection.execute(b"set local role llegada_app")
        rows = connection.execute(b"select count(*) from reservation_api.organizations").fetchone()
        assert rows == (0,)
        connection.rollback()


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_login_can_tell_whether_its_schema_is_ready(service: str, database_of: dict[str, str]) -> None:
    assert behind(SERVICES[service].package, database_of[service]) is None


@pytest.fixture(scope="module")
def owner_url(database_url: str, database_of: dict[str, str]) -> Iterator[str]:
    """As where an administrator makes the logins: the owner of a migrated database, and nothing else."""
    assert database_of  # the roles are there
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(b"create role llegada_owner login password 'owner'")
        connection.execute(b"create database llegada_owned owner llegada_owner")
    try:
        owner = make_url(database_url).set(username="llegada_owner", password="owner", database="llegada_owned")
        url = owner.render_as_string(hide_password=False)
        for service in SERVICES.values():
            migrate(service.package, url, oversees=service.keeps_dead_letters)
        yield url
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(b"drop database llegada_owned with (force)")
            connection.execute(b"drop owned by llegada_owner")
            connection.execute(b"drop role llegada_owner")


def test_an_owner_who_may_make_no_roles_can_migrate(owner_url: str, database_of: dict[str, str]) -> None:
    assert all(behind(service.package, owner_url) is None for service in SERVICES.values())
    worker = make_url(database_of[WORKERS[0]]).set(database="llegada_owned")
    with psycopg.connect(worker.render_as_string(hide_password=False)) as connection:
        connection.execute(f"select 1 from {SERVICES[WORKERS[0]].package}.outbox".encode())


def test_an_owner_who_may_nothing_else_mends_the_timeline_of_a_restored_database(
    owner_url: str, database_url: str
) -> None:
    """It once changed no row, without an error: the timeline's row-level security is forced."""
    administrator = make_url(database_url).set(database="llegada_owned").render_as_string(hide_password=False)
    with psycopg.connect(administrator) as connection:
        connection.execute(
            b"insert into reservation_api.timeline"
            b" (organization_id, reservation_id, event_id, type, source, happened_at, summary, xid)"
            b" values (1, 1, gen_random_uuid(), 'kept', 'tests', now(), '{}', '9000000000000')"
        )
    assert mend(owner_url, ["reservation_api"]).rows == 1
    with psycopg.connect(administrator) as connection:
        rows = connection.execute(b"select xid < pg_snapshot_xmax(pg_current_snapshot()) from reservation_api.timeline")
        assert rows.fetchall() == [(True,)]
    with psycopg.connect(owner_url) as connection:
        assert connection.execute(b"select count(*) from reservation_api.timeline").fetchone() == (0,)  # forced again


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_worker_consumes_its_own_queues_alone(worker: str, broker_of: dict[str, str]) -> None:
    own = [queue_name(worker, s.action, lane) for s in SERVICES[worker].subscriptions for lane in Lane]
    foreign = [queue_name(other(worker), SERVICES[other(worker)].subscriptions[0].action, Lane.INTERACTIVE)]
    foreign += [dead_letter_queue(worker), dead_letter_queue(other(worker)), "llegada.unroutable", "llegada.retry.2s"]
    async with await aio_pika.connect(broker_of[worker]) as connection:
        for name in own:
            await get(await connection.channel(), name)
        for name in foreign:
            await refused(connection, partial(get, name=name))


async def get(channel: AbstractChannel, name: str) -> None:
    await (await channel.get_queue(name, ensure=False)).get(fail=False, timeout=10)


async def publish(channel: AbstractChannel, exchange: str, key: str) -> None:
    message = aio_pika.Message(b"{}")
    if exchange:
        await (await channel.get_exchange(exchange, ensure=False)).publish(message, key, mandatory=False, timeout=10)
    else:
        await channel.default_exchange.publish(message, key, mandatory=False, timeout=10)


async def refused(connection: AbstractConnection, attempt: Callable[[AbstractChannel], Awaitable[object]]) -> None:
    """The broker's own refusal, 403; it closes the channel, so each attempt has one of its own."""
    channel = await connection.channel()
    with pytest.raises(ChannelAccessRefused):
        await attempt(channel)


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_worker_publishes_what_its_handlers_return_and_nothing_else(
    worker: str, broker_of: dict[str, str]
) -> None:
    allowed = {event.type for s in SERVICES[worker].subscriptions for event in s.publishes} | {"job.failed"}
    async with await aio_pika.connect(broker_of[worker]) as connection:
        channel = await connection.channel()
        for key in sorted(allowed):
            await publish(channel, EVENTS, key)
        await publish(channel, "llegada.retry.2s", f"{worker}.none")
        await publish(channel, DEAD_LETTERS, worker)
        await refused(connection, lambda c: publish(c, EVENTS, "reservation.created"))
        await refused(connection, lambda c: publish(c, "", f"{other(worker)}.dead-letters"))
        await refused(connection, lambda c: publish(c, "llegada.redeliver", f"{other(worker)}.x"))
        await refused(connection, lambda c: c.declare_queue(f"{worker}.extra", durable=True))
        await refused(connection, lambda c: c.queue_delete(f"{worker}.dead-letters"))


async def test_the_api_keeps_dead_letters_and_replays_but_consumes_no_workers_queue(broker_of: dict[str, str]) -> None:
    async with await aio_pika.connect(broker_of[KEEPER]) as connection:
        channel = await connection.channel()
        for name in [*map(dead_letter_queue, SERVICES), "llegada.unroutable"]:
            await get(channel, name)
        queue = queue_name(WORKERS[0], SERVICES[WORKERS[0]].subscriptions[0].action, Lane.INTERACTIVE)
        await publish(channel, "", queue)
        await publish(channel, EVENTS, "reservation.created")
        await refused(connection, lambda c: get(c, queue))
        await refused(connection, lambda c: c.queue_delete(queue))


def test_a_service_is_told_in_one_sentence_which_broker_user_a_command_needs(
    database_url: str,
    broker_of: dict[str, str],
    management_url: str,
    secrets_of: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    url = make_url(broker_of[KEEPER])
    for address, needed in ((url, "AMQP_URL needs the user llegada-topology, no service's own"),
                            (url.set(database="nowhere"), "a virtual host that is there")):  # fmt: skip
        monkeypatch.setenv("AMQP_URL", address.render_as_string(hide_password=False))
        assert main(["topology", "apply"]) == 2
        assert needed in one_line(capsys)
    host = management_url.rpartition("@")[2]
    management = f"http://{KEEPER}:{(secrets_of / KEEPER).read_text()}@{host}"
    assert main(["rights", "apply", "--management", management, "--passwords", str(secrets_of)]) == 2
    assert "needs a login with the tag `administrator`" in one_line(capsys)


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (["dead-letters", "list"], "needs the login llegada_reservation_api, which reservation-api has"),
        (["migrate"], "needs the login that owns the schemas, no service's own: permission denied"),
        (["restored"], "needs the login that owns the schemas, no service's own: permission denied"),
    ],
)
def test_a_worker_is_told_in_one_sentence_which_login_a_command_needs(
    command: list[str],
    needed: str,
    database_of: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_of[WORKERS[0]])
    assert main(command) == 2
    assert needed in one_line(capsys)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on the error stream, without the logs of libraries."""
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


def test_the_operators_user_sees_the_queues_and_changes_none(
    broker_of: dict[str, str], management_url: str, secrets_of: Path
) -> None:
    vhost = make_url(broker_of[OPERATORS_USER]).database
    base = make_url(management_url)
    auth = (OPERATORS_USER, (secrets_of / OPERATORS_USER).read_text())
    with httpx.Client(base_url=f"http://{base.host}:{base.port}", auth=auth, timeout=20) as api:
        seen = {queue["name"] for queue in api.get(f"/api/queues/{vhost}").raise_for_status().json()}
        assert dead_letter_queue(KEEPER) in seen
        assert api.delete(f"/api/queues/{vhost}/{dead_letter_queue(KEEPER)}").status_code in (401, 403)


def test_a_new_workers_rights_come_from_its_subscriptions_alone() -> None:
    one = broker_rights({"payment-worker": (SERVICES["payment-worker"].subscriptions, False)})[0]
    assert one.configure == "^$"
    assert one.read.startswith(r"^(payment\-worker\.create\-link|payment\-worker\.create\-link\.bulk|")
    assert set(one.topics) == {"llegada.events", "llegada.events.bulk"}
    assert r"payment\.link_created" in one.topics["llegada.events"]

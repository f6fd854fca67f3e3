"""`llegada run | migrate | wait | describe | topology | rights`: what a process, a release job and a reader need."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import aio_pika
import httpx
from aiormq.exceptions import AMQPError, ChannelAccessRefused
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.exc import ProgrammingError

from llegada.messaging.dead_letter_desk import DeskError
from llegada.messaging.rights import TOPOLOGY_USER
from llegada.messaging.subscription import Subscription
from llegada.messaging.topology import TopologyError, declare, topology
from llegada.runtime import dead_letters_cli, discovery, restored, rights_cli
from llegada.runtime.database import EMBEDDED_ROLE, own_role
from llegada.runtime.migrate import RightsMissing, SchemaBehind, embed, embedded, migrate, wait
from llegada.runtime.run import check_topology, run, runtime_settings
from llegada.runtime.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for a mistake of the caller, said in one line or list."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "run":
                _run(chosen.services, everything=chosen.all)
            case "migrate":
                with _owner_needed():
                    _migrate(chosen.services, act_for_all=chosen.embedded)
            case "restored":
                with _owner_needed():
                    _restored(chosen.gap)
            case "wait":
                _wait(chosen.services, chosen.seconds)
            case "describe":
                _describe(as_json=chosen.json)
            case "topology":
                return asyncio.run(
                    _topology_check(as_json=chosen.json) if chosen.what == "check" else _topology_apply()
                )
            case "rights":
                return rights_cli.run(chosen)
            case "dead-letters":
                return dead_letters_cli.run(chosen)
    except (SettingsError, discovery.DiscoveryError, TopologyError, DeskError, SchemaBehind, RightsMissing) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("llegada", description="Run and prepare the services of Llegada")
    commands = parser.add_subparsers(dest="command", required=True)
    run_command = commands.add_parser("run", help="run one or more services in this process")
    run_command.add_argument("services", nargs="*", metavar="service")
    run_command.add_argument("--all", action="store_true", help="every installed service in one process")
    migrate_command = commands.add_parser("migrate", help="bring the schemas of services to the newest revision")
    migrate_command.add_argument("services", nargs="*", metavar="service", help="default: every installed one")
    migrate_command.add_argument("--all", action="store_true", help="every installed service (the default)")
    migrate_command.add_argument(
        "--embedded", action="store_true", help="let the API's login act for all, as QUEUE_ENABLED=false needs it"
    )
    restored_command = commands.add_parser("restored", help="after a backup was restored, before the first start")
    restored_command.add_argument(
        "--gap", type=int, default=restored.GAP, help="numbers left out (default: %(default)s)"
    )
    wait_command = commands.add_parser("wait", help="until the schemas are at what this release needs, or newer")
    wait_command.add_argument("services", nargs="*", metavar="service", help="default: every installed one")
    wait_command.add_argument("--seconds", type=float, default=600, help="then give up (default: %(default)s)")
    describe = commands.add_parser("describe", help="what every queue consumes and publishes")
    describe.add_argument("--json", action="store_true")
    topology_command = commands.add_parser("topology", help="exchanges, queues and bindings of all services")
    topology_command.add_argument("what", choices=["apply", "check"])
    topology_command.add_argument("--json", action="store_true", help="findings of `check` as a list")
    dead_letters_cli.add_commands(commands)
    rights_cli.add_commands(commands)
    return parser


def _run(names: list[str], *, everything: bool) -> None:
    chosen = list(discovery.installed()) if everything else names
    if not chosen:
        raise discovery.DiscoveryError(f"name a service, or --all; installed are: {', '.join(discovery.installed())}")
    run(chosen)


@contextmanager
def _owner_needed() -> Iterator[None]:
    """A refusal as RightsMissing."""
    try:
        yield
    except (InsufficientPrivilege, ProgrammingError) as error:
        cause = error.orig if isinstance(error, ProgrammingError) else error
        if not isinstance(cause, InsufficientPrivilege):
            raise
        said = str(cause).partition("\n")[0]
        raise RightsMissing(f"DATABASE_URL needs the login that owns the schemas, no service's own: {said}") from error


def _migrate(names: list[str], *, act_for_all: bool) -> None:
    url = runtime_settings(broker=False).database_url.get_secret_value()
    for name in names or discovery.installed():
        service = discovery.find(name)
        upgraded = migrate(service.package, url, oversees=service.keeps_dead_letters)
        state = "at the newest revision" if upgraded else "newer than this release, and stays as it is"
        print(f"{name}: schema is {state}")
        if not service.keeps_dead_letters:
            continue
        if act_for_all:
            embed(service.package, url)
            print(f"{name}: may act for all services (QUEUE_ENABLED=false)")
        elif embedded(service.package, url):
            print(
                f"{name}: may still act for all services; where QUEUE_ENABLED=false is over:"
                f" revoke {EMBEDDED_ROLE} from {own_role(service.package)};"
            )


def _restored(gap: int) -> None:
    url = runtime_settings(broker=False).database_url.get_secret_value()
    mended = restored.mend(url, [service.package for service in discovery.installed().values()], gap)
    print(f"{mended.sequences} sequences moved on by {gap}, {mended.rows} rows under a transaction of this server")


def _wait(names: list[str], seconds: float) -> None:
    url = runtime_settings(broker=False).database_url.get_secret_value()
    packages = [discovery.find(name).package for name in names or discovery.installed()]
    wait(packages, url, seconds)
    print(f"the schemas are ready: {', '.join(packages)}")


def _describe(*, as_json: bool) -> None:
    lines = {
        f"{name}.{subscription.action}": subscription
        for name, service in discovery.installed().items()
        for subscription in service.subscriptions
    }
    if as_json:
        shown = {
            queue: {"consumes": _types(s, "consumes"), "publishes": _types(s, "publishes")}
            for queue, s in lines.items()
        }
        print(json.dumps(shown, indent=2))
        return
    for queue, subscription in lines.items():
        print(describe(queue, subscription))


def describe(queue: str, subscription: Subscription[object]) -> str:
    """`payment-worker.create-link: ReservationCreated -> PaymentLinkCreated`."""
    consumed = " | ".join(event.__name__ for event in subscription.consumes)
    published = " | ".join(event.__name__ for event in subscription.publishes)
    return f"{queue}: {consumed} -> {published or 'nothing'}"


def _types(subscription: Subscription[object], which: str) -> list[str]:
    return [event.type or "#" for event in getattr(subscription, which)]


async def _topology_apply() -> int:
    url = runtime_settings().amqp_url
    if url is None:
        raise SettingsError("AMQP_URL is needed to apply the topology")
    wanted = topology({name: service.subscriptions for name, service in discovery.installed().items()})
    try:
        async with await aio_pika.connect(url.get_secret_value(), timeout=10) as connection:
            await declare(await connection.channel(), wanted)
    except OSError as error:
        raise TopologyError(f"the broker cannot be reached: {error}") from error
    except ChannelAccessRefused as error:
        raise TopologyError(f"AMQP_URL needs the user {TOPOLOGY_USER}, no service's own: {error}") from error
    except AMQPError as error:
        raise TopologyError(
            f"the broker ended the connection; AMQP_URL needs a virtual host that is there, and that the user"
            f" {TOPOLOGY_USER} may enter: {error}"
        ) from error
    print(f"{len(wanted.exchanges)} exchanges, {len(wanted.queues)} queues, {len(wanted.bindings)} bindings are there")
    return 0


async def _topology_check(*, as_json: bool) -> int:
    """0: nothing found; 1: findings; 2 (by the caller): the broker could not be asked."""
    settings = runtime_settings()
    if settings.amqp_url is None or settings.rabbitmq_management_url is None:
        raise SettingsError("AMQP_URL and RABBITMQ_MANAGEMENT_URL are needed to check the topology")
    try:
        found = await check_topology(settings, discovery.installed().values())
    except httpx.HTTPError as error:
        raise TopologyError(f"the management API cannot be asked: {error!r}") from error
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for f in found:
            print(f"{f.severity}: {f.object}: {f.what}. Why: {f.why}. Remedy: {f.remedy}.")
        print(f"{len(found)} findings" if found else "nothing found: no message can be lost, doubled or held here")
    return 1 if found else 0

"""`llegada-dev run | exec | infrastructure`."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from llegada_dev import contracts, dashboards, deploy, image, settings_table
from llegada_dev.drill import drill
from llegada_dev.infrastructure import infrastructure, say
from llegada_dev.ports import DEFAULT_BASE, Ports, PortTaken, free_base
from llegada_dev.run import run
from llegada_dev.server import StartFailed


def main() -> int:
    chosen = _parser().parse_args()
    try:
        return _do(chosen)
    except (StartFailed, PortTaken) as error:
        say(str(error))
        return 1


def _do(chosen: argparse.Namespace) -> int:
    """The command's exit code."""
    code = 0
    match chosen.command:
        case "run":
            code = run(demo=not chosen.no_demo, embedded=chosen.embedded, latency=chosen.latency)
        case "exec":
            code = _exec(chosen.arguments)
        case "drill":
            code = drill(chosen.alerts, short=chosen.short)
        case "dashboards" if chosen.check:
            code = dashboards.check()
        case "dashboards":
            dashboards.write()
        case "schemas" | "deploy-tools" | "chart" | "image":
            _make(chosen)
        case _:
            code = _foreground()
    return code


def _make(chosen: argparse.Namespace) -> None:
    match chosen.command:
        case "schemas":
            contracts.write()
            settings_table.PAGE.write_text(settings_table.page())
            deploy.COMPOSE_SERVICES.write_text(deploy.compose_services())
        case "deploy-tools":
            deploy.get_tools()
        case "chart":
            deploy.get_tools()
            print(deploy.package(Path(chosen.target)))
        case _:
            image.build(chosen.service)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("llegada-dev", description="Llegada on a developer's machine")
    commands = parser.add_subparsers(dest="command", required=True)
    run_command = commands.add_parser(
        "run",
        help="everything, with a demo reservation",
        description=f"Ports count from PORT_BASE ({DEFAULT_BASE}): API +0, sandbox +10, SMTP +11, workers +20 …, "
        "PostgreSQL +42, RabbitMQ +72 (management +75), gateway +90.",
    )
    run_command.add_argument("--no-demo", action="store_true", help="without the demo reservation")
    run_command.add_argument("--embedded", action="store_true", help="without a broker: all in the API's process")
    run_command.add_argument("--latency", default="1-3", help="seconds that providers take (default: %(default)s)")
    exec_command = commands.add_parser("exec", help="start broker and database, run a command, end them")
    exec_command.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- command …")
    drill_command = commands.add_parser("drill", help="break a running system, and see every alert fire and go away")
    drill_command.add_argument("alerts", nargs="*", help="only the drills for these alerts")
    drill_command.add_argument("--short", action="store_true", help="the two that every change runs")
    dashboards_command = commands.add_parser("dashboards", help="write Grafana's JSON (deploy/grafana)")
    dashboards_command.add_argument("--check", action="store_true", help="run every query on a running system")
    commands.add_parser("schemas", help="write the events' JSON schemas, OpenAPI, compose services, settings")
    image_command = commands.add_parser("image", help="build the image and try it")
    image_command.add_argument("--service", default="all", help="default: %(default)s")
    commands.add_parser("deploy-tools", help="helm and what checks deployment files, into .tools/deploy")
    chart = commands.add_parser("chart", help="the Helm chart as it is shipped, with every service in it")
    chart.add_argument("target", nargs="?", default="dist", help="folder (default: %(default)s)")
    commands.add_parser("infrastructure", help="broker and database in the foreground, addresses as JSON")
    return parser


def _exec(arguments: list[str]) -> int:
    """The command's exit code; it reads the addresses from its environment."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        raise StartFailed("exec needs a command: llegada-dev exec -- pytest")
    with tempfile.TemporaryDirectory(prefix="llegada-") as folder:
        # Readable for the user that PostgreSQL runs as.
        Path(folder).chmod(0o755)
        with infrastructure(Path(folder), Ports(free_base())) as found:
            return subprocess.run(command, env={**os.environ, **found.environment}, check=False).returncode


def _foreground() -> int:
    with tempfile.TemporaryDirectory(prefix="llegada-") as folder:
        Path(folder).chmod(0o755)
        # Blocked before anything starts, so that a signal can only end us at `sigwait`, with everything in order.
        ending = {signal.SIGTERM, signal.SIGINT}
        with infrastructure(Path(folder), Ports(free_base())) as found:
            signal.pthread_sigmask(signal.SIG_BLOCK, ending)
            print(json.dumps(found.environment), flush=True)
            signal.sigwait(ending)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`llegada rights show | apply`: the broker's users with just what the subscriptions need."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from llegada.messaging.rights import BrokerRights, broker_rights, definitions
from llegada.messaging.topology import TopologyError
from llegada.runtime import discovery
from llegada.runtime.settings import SettingsError


def add_commands(commands: Any) -> None:
    rights = commands.add_parser("rights", help="the broker's users, and what each may do")
    what = rights.add_subparsers(dest="what", required=True)
    what.add_parser("show", help="as JSON, without passwords")
    apply = what.add_parser("apply", help="make users, permissions, policy and limits, by the management API")
    apply.add_argument("--management", required=True, metavar="URL", help="http://administrator:password@host:15672")
    apply.add_argument("--vhost", default="llegada", help="default: %(default)s")
    apply.add_argument("--passwords", required=True, type=Path, metavar="FOLDER", help="one file per user")


def run(chosen: argparse.Namespace) -> int:
    """SettingsError where a password is missing; TopologyError where the broker refuses."""
    wanted = installed_rights()
    if chosen.what == "show":
        print(json.dumps([asdict(one) for one in wanted], indent=2))
        return 0
    _import(chosen.management, definitions(wanted, chosen.vhost, _passwords(wanted, chosen.passwords)))
    print(f"{len(wanted)} users, each with its rights in {chosen.vhost}")
    return 0


def installed_rights() -> list[BrokerRights]:
    services = discovery.installed()
    return broker_rights({name: (one.subscriptions, one.keeps_dead_letters) for name, one in services.items()})


def _passwords(wanted: list[BrokerRights], folder: Path) -> dict[str, str]:
    missing = [one.user for one in wanted if not (folder / one.user).is_file()]
    if missing:
        raise SettingsError(f"{folder} has no file with the password of: {', '.join(missing)}")
    return {one.user: (folder / one.user).read_text().strip() for one in wanted}


def _import(url: str, content: dict[str, Any]) -> None:
    parts = urlsplit(url)
    auth = (parts.username or "guest", parts.password or "guest")
    base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}"
    try:
        answer = httpx.post(f"{base}/api/definitions", json=content, auth=auth, timeout=30, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        answered = error.response if isinstance(error, httpx.HTTPStatusError) else None
        if answered is not None and answered.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise TopologyError(
                f"--management needs a login with the tag `administrator`, no service's own: {answered.text}"
            ) from error
        said = answered.text if answered is not None else ""
        raise TopologyError(f"the broker did not take the definitions: {type(error).__name__} {said}") from error

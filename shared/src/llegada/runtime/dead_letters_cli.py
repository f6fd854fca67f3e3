"""`llegada dead-letters …`: the desk without the API, straight on the database. JSON out, one document per call."""

import argparse
import asyncio
import getpass
import json
import os
from typing import Any

from sqlalchemy.exc import ProgrammingError

from llegada.messaging import dead_letter_desk as desk
from llegada.messaging.dead_letter_check import Check, check
from llegada.messaging.dead_letter_desk import Selection
from llegada.messaging.transaction import Database, Transaction
from llegada.runtime.database import SYSTEM_ROLE, engine, own_role
from llegada.runtime.discovery import DiscoveryError, installed
from llegada.runtime.migrate import RightsMissing
from llegada.runtime.run import runtime_settings

_REFUSED = "42501"
"""insufficient_privilege: postgresql.org/docs/current/errcodes-appendix.html"""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `dead-letters` and what it can do."""
    command = commands.add_parser("dead-letters", help="list, group, show, replay, discard, check")
    whats = command.add_subparsers(dest="what", required=True)
    for name, words in (("list", "open ones, newest first"), ("groups", "failures of one kind together")):
        listing = whats.add_parser(name, help=words)
        listing.add_argument("--state", default=desk.OPEN, help="default: open; `all` for every state")
        listing.add_argument("--page", type=int, default=1)
        listing.add_argument("--page-size", type=int, default=50)
        listing.add_argument("--fingerprint")
        listing.add_argument("--queue")
        listing.add_argument("--text", help="looked for in reason, type, subject and ids")
    whats.add_parser("show", help="one with body and history").add_argument("number", type=int)
    replay = whats.add_parser("replay", help="in measured batches; ended by itself when they fail again")
    replay.add_argument("--rate", type=int, default=10, help="messages a second after the first eleven (default: 10)")
    discard = whats.add_parser("discard", help="give up for good")
    discard.add_argument("--reason", required=True)
    for choosing in (replay, discard):
        which = choosing.add_mutually_exclusive_group(required=True)
        which.add_argument("--ids", type=int, nargs="+")
        which.add_argument("--fingerprint")
        which.add_argument("--queue")
        which.add_argument("--all", action="store_true")
        choosing.add_argument("--actor", default=_who(), help="who does it, for the log")
    whats.add_parser("replays", help="the newest hundred, with what came of each")
    whats.add_parser("check", help="whether every message that was settled as dead is somewhere; exit code 1 if not")


def _who() -> str:
    """A container's user id has no name; Python says so with KeyError (3.13: OSError)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def run(chosen: argparse.Namespace) -> int:
    """Exit code 0, or 1 where `check` found one missing.

    Raises DeskError, DiscoveryError without a keeper, and RightsMissing with a login that may not act for the keeper.
    """
    return asyncio.run(_run(chosen))


async def _run(chosen: argparse.Namespace) -> int:
    keeping = next((service for service in installed().values() if service.keeps_dead_letters), None)
    if keeping is None:
        raise DiscoveryError("no installed service keeps dead letters")
    url = runtime_settings(broker=False).database_url.get_secret_value()
    made = engine(url, keeping.package, role=SYSTEM_ROLE, pooled=False)
    try:
        async with Database(made, keeping.package).transaction() as tx:
            answer = await _answer(tx, chosen)
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _REFUSED:
            raise
        needed = f"DATABASE_URL needs the login {own_role(keeping.package)}, which {keeping.name} has"
        raise RightsMissing(f"{needed}: this one may not act as {SYSTEM_ROLE}") from error
    finally:
        await made.dispose()
    print(json.dumps(answer, default=_plain, indent=2, ensure_ascii=False))
    return 1 if chosen.what == "check" and answer["missing"] else 0


async def _answer(tx: Transaction, chosen: argparse.Namespace) -> Any:
    match chosen.what:
        case "list" | "groups":
            state = None if chosen.state == "all" else chosen.state
            wanted = Selection(None, None, chosen.fingerprint, chosen.queue, state, chosen.text)
            look = desk.find if chosen.what == "list" else desk.groups
            found = await look(tx, wanted, chosen.page, chosen.page_size)
            return {"total": found.total, "rows": [dict(row) for row in found.rows]}
        case "show":
            one = await desk.one(tx, None, chosen.number)
            return {**one.row, "passes": [dict(row) for row in one.passes], "log": [dict(row) for row in one.log]}
        case "replay":
            number, total = await desk.replay(tx, _selection(chosen), chosen.rate, chosen.actor)
            return {"replay": number, "total": total}
        case "discard":
            return {"discarded": await desk.discard(tx, _selection(chosen), chosen.reason, chosen.actor)}
        case "replays":
            return [dict(row) for row in await desk.replays(tx, None)]
        case _:
            return _checked(await check(tx, {name: service.package for name, service in installed().items()}))


def _selection(chosen: argparse.Namespace) -> Selection:
    return Selection(None, chosen.ids, chosen.fingerprint, chosen.queue, desk.OPEN)


def _checked(found: Check) -> dict[str, Any]:
    return {"dead": found.dead, "waiting": found.waiting, "stored": found.stored, "missing": found.missing}


def _plain(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)

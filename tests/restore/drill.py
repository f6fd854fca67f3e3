"""A dump that is older than what the world knows is restored, beside the live broker or beside an empty one.

    python -m tests.restore.drill [--broker live|empty]

Prints what became of bookings of each kind, as API and providers see them. Exit code 1 where one that the dump holds is
not shown, a finished one was worked again, a number was given twice, or a new booking does not end.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psycopg

from llegada_dev.database import BINARIES
from llegada_dev.infrastructure import Infrastructure, infrastructure, say
from llegada_dev.ports import Ports, free_base
from llegada_dev.system import System, llegada, system
from llegada_dev.waiting import until

_PATIENCE = 120.0
_SETTLED = 20.0
"""Seconds after which nothing is in motion any more, when no provider fails and no ladder is used."""


class Desk:
    """Bookings of one run, each of a guest of its own."""

    def __init__(self, made: System) -> None:
        self.made = made
        headers = {"Authorization": f"Bearer {made.token}"}
        self.api = httpx.Client(base_url=made.api, headers=headers, timeout=30, trust_env=False)
        self._guests = 0

    def book(self, count: int) -> dict[int, str]:
        """Reservation → the guest's number, as WhatsApp writes it."""
        made = {}
        for _ in range(count):
            self._guests += 1
            contact = f"+57300{self._guests:07}"
            body = {"guestName": f"Guest {self._guests}", "contact": contact, "amount": 180_000}
            answer = self.api.post("/api/reservations", json=body).raise_for_status()
            made[int(answer.json()["data"]["id"])] = contact.removeprefix("+")
        return made

    def state(self, number: int) -> str:
        """The booking in one word; `unknown` where the API has none of that number."""
        answer = self.api.get(f"/api/reservations/{number}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return "unknown"
        word: str = answer.json()["data"]["processingStatus"]
        return word

    def finish(self, bookings: dict[int, str]) -> None:
        until(lambda: all(self.state(number) == "completed" for number in bookings), _PATIENCE, "bookings are finished")

    def messages(self) -> Counter[str]:
        effects = httpx.get(f"{self.made.sandbox}/_sandbox/effects", params={"provider": "whatsapp"}, timeout=30)
        return Counter(effect["recipient"] for effect in effects.json())


def rehearse(made: System, found: Infrastructure, folder: Path, *, live: bool) -> dict[str, Any]:
    """Kind of booking → what API and providers say of it at the end."""
    desk, services = Desk(made), made.cluster.services
    kinds = {"finished before the dump": desk.book(8)}
    desk.finish(kinds["finished before the dump"])
    services["notification-worker"].stop()
    kinds["under way at the dump"] = desk.book(4)
    until(lambda: _waiting(found) == 0, _PATIENCE, "the outboxes are empty")
    dump = folder / "backup.dump"
    _run("pg_dump", "-Fc", "-f", str(dump), found.database_url)
    services["notification-worker"].start()
    desk.finish(kinds["under way at the dump"])
    kinds["finished after the dump"] = desk.book(8)
    desk.finish(kinds["finished after the dump"])
    services["payment-worker"].stop()
    kinds["in the broker at the restore"] = desk.book(4)
    until(lambda: _waiting(found) == 0, _PATIENCE, "the outboxes are empty")

    say(f"restoring the dump beside the {'live' if live else 'empty'} broker")
    made.cluster.stop()
    _restore(found, dump)
    if not live:
        _empty_broker(found, folder)
    made.cluster.start()
    kinds["after the restore"] = desk.book(4)
    desk.finish(kinds["after the restore"])
    time.sleep(_SETTLED)
    messages = desk.messages()
    return {
        kind: {
            "api": dict(Counter(desk.state(number) for number in bookings)),
            "messages": dict(Counter(messages[guest] for guest in bookings.values())),
            "numbers": sorted(bookings),
        }
        for kind, bookings in kinds.items()
    }


def judged(seen: dict[str, Any]) -> list[str]:
    """What must not be."""
    wrong = [
        f"{kind}: {seen[kind]}"
        for kind in ("finished before the dump", "after the restore")
        if set(seen[kind]["api"]) != {"completed"} or set(seen[kind]["messages"]) != {1}
    ]
    if "unknown" in seen["under way at the dump"]["api"]:
        wrong.append(f"lost although the dump holds it: {seen['under way at the dump']}")
    known = [number for kind, what in seen.items() if kind != "after the restore" for number in what["numbers"]]
    if set(known) & set(seen["after the restore"]["numbers"]):
        wrong.append("a number was given twice")
    return wrong


def _restore(found: Infrastructure, dump: Path) -> None:
    with psycopg.connect(found.database_url, autocommit=True) as connection:
        names = "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema|public)'"
        for (name,) in connection.execute(names).fetchall():
            connection.execute(f'drop schema "{name}" cascade'.encode())
    _run("pg_restore", "--exit-on-error", "-d", found.database_url, str(dump))
    llegada(found.environment, "restored")


def _empty_broker(found: Infrastructure, folder: Path) -> None:
    assert found.broker is not None  # main has looked
    found.broker.stop()
    shutil.rmtree(folder / "broker" / "data")
    found.broker.start()
    llegada(found.environment, "topology", "apply")


def _waiting(found: Infrastructure) -> int:
    rows = 0
    with psycopg.connect(found.database_url) as connection:
        tables = "select schemaname from pg_tables where tablename = 'outbox'"
        for (schema,) in connection.execute(tables).fetchall():
            row = connection.execute(f"select count(*) from {schema}.outbox".encode()).fetchone()
            rows += row[0] if row else 0
    return rows


def _run(program: str, *arguments: str) -> None:
    subprocess.run([str(BINARIES / program), *arguments], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=["live", "empty"], default="live")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llegada-") as name:
        folder, ports = Path(name), Ports(free_base())
        folder.chmod(0o755)
        with infrastructure(folder, ports) as found, system(found, folder, ports) as made:
            if found.broker is None or found.database is None:
                say("broker and database are not ours to restore")
                return 1
            seen = rehearse(made, found, folder, live=chosen.broker == "live")
    for kind, what in seen.items():
        print(f"{kind}: {json.dumps(what)}")
    wrong = judged(seen)
    print("\n".join(wrong) or "as docs/operations/backup.md says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

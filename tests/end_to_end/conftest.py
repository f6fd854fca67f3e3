"""All processes, once per file: real broker, database, sandbox and services, each file with its own."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import psycopg
import pytest

from llegada_dev.objects import ObjectStore
from llegada_dev.system import System, temporary_system
from llegada_dev.waiting import until

T = TypeVar("T")


class Desk:
    """The front desk's and the judge's view of a running system."""

    def __init__(self, made: System) -> None:
        self.system = made
        self.api = httpx.Client(
            base_url=made.api, headers={"Authorization": f"Bearer {made.token}"}, timeout=60, trust_env=False
        )
        self.admin = httpx.Client(
            base_url=made.api, headers={"Authorization": f"Bearer {made.admin_token}"}, timeout=60, trust_env=False
        )
        self.sandbox = httpx.Client(base_url=made.sandbox, timeout=30, trust_env=False)

    def create(self, contact: str = "+573001234567", key: str | None = None, **more: Any) -> dict[str, Any]:
        body = {"guestName": "Ana Gómez", "contact": contact, "amount": 180_000, **more}
        answer = self.api.post("/api/reservations", json=body, headers={"Idempotency-Key": key or str(uuid4())})
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def get(self, reservation_id: int) -> dict[str, Any]:
        data: dict[str, Any] = self.api.get(f"/api/reservations/{reservation_id}").json()["data"]
        return data

    def step(self, reservation_id: int, name: str) -> dict[str, Any]:
        return next(step for step in self.get(reservation_id)["steps"] if step["step"] == name)

    def sent(self, reservation_id: int, seconds: float = 30) -> dict[str, Any]:
        """Wait until the guest has the message."""

        def finished() -> dict[str, Any] | None:
            data = self.get(reservation_id)
            return data if data["status"] == "notification_sent" else None

        found = until(finished, seconds, f"reservation {reservation_id} is sent")
        assert found is not None
        return found

    def fault(self, **order: Any) -> None:
        assert self.sandbox.post("/_sandbox/faults", json=order).status_code == 201

    def clear(self) -> None:
        """As if nothing had gone wrong before: no faults, no effects, breakers closed, limits unused."""
        with psycopg.connect(self.system.infrastructure.database_url) as connection:
            for schema in ("payment_worker", "notification_worker", "lock_worker", "sire_worker"):
                for table in ("breakers", "rate_limits"):
                    connection.execute(f"delete from {schema}.{table}".encode())
        self.sandbox.delete("/_sandbox/faults")
        self.sandbox.delete("/_sandbox/effects")

    def effects(self, **filters: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sandbox.get("/_sandbox/effects", params=filters).json()
        return found

    def links_of(self, reservation_id: int) -> list[dict[str, Any]]:
        links = self.effects(provider="bold", operation="create_link")
        return [link for link in links if link["reference"].startswith(f"reservation-{reservation_id}-")]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.system.infrastructure.database_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def close(self) -> None:
        for name, process in self.system.cluster.services.items():
            print(f"== last words of {name}\n{process.last_words()}")
        for client in (self.api, self.admin, self.sandbox):
            client.close()


class Stage:
    """What a file needs to start its own system."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def system(self, **options: Any) -> Desk:
        desk = Desk(self._stack.enter_context(temporary_system(**options)))
        self._stack.callback(desk.close)
        return desk

    def objects(self, port: int) -> ObjectStore:
        """An S3-compatible store with its bucket."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="llegada-")))
        store = ObjectStore(folder, port)
        store.start()
        self._stack.callback(store.kill)
        return store


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack)

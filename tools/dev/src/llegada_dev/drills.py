"""What is broken on purpose, and which alerts must tell of it. A test compares with the rules: no alert without one."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

import httpx
import psycopg

from llegada_dev.broker import Broker
from llegada_dev.cluster import API
from llegada_dev.database import Database
from llegada_dev.server import StartFailed
from llegada_dev.system import System

_PAUSE = 0.4  # seconds between two bookings


class Scene:
    """A running system with guests that book all the time, and what can be done to it."""

    def __init__(self, made: System) -> None:
        self.made = made
        headers = {"Authorization": f"Bearer {made.admin_token}"}
        self.admin = httpx.Client(base_url=made.api, headers=headers, timeout=30, trust_env=False)
        self._stopping = threading.Event()
        self._guests = threading.Thread(target=self._book, daemon=True)

    def __enter__(self) -> Self:
        self._guests.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._guests.join(40)
        self.admin.close()

    @property
    def broker(self) -> Broker:
        if self.made.infrastructure.broker is None:
            raise StartFailed("the broker is not ours to break")
        return self.made.infrastructure.broker

    @property
    def database(self) -> Database:
        if self.made.infrastructure.database is None:
            raise StartFailed("the database is not ours to break")
        return self.made.infrastructure.database

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.made.infrastructure.database_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def discard_dead_letters(self) -> None:
        reason = {"all": True, "reason": "made by a drill"}
        self.admin.post("/api/admin/dead-letters/discard", json=reason).raise_for_status()

    def _book(self) -> None:
        """Refused and unanswered requests belong to a drill: the alerts judge, not the guests."""
        headers = {"Authorization": f"Bearer {self.made.token}"}
        with httpx.Client(base_url=self.made.api, headers=headers, timeout=10, trust_env=False) as api:
            number = 0
            while not self._stopping.wait(_PAUSE):
                number += 1
                body = {"guestName": f"Guest {number}", "contact": f"+57300{number:07}", "amount": 180_000}
                try:
                    api.post("/api/reservations", json=body, headers={"Idempotency-Key": str(uuid4())})
                except httpx.TransportError:
                    continue


@dataclass(frozen=True)
class Drill:
    """`alerts` fire while `broken` is entered, and are gone after it was left."""

    name: str
    alerts: frozenset[str]
    broken: Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def _worker_stopped(scene: Scene) -> Iterator[None]:
    scene.made.cluster.services["lock-worker"].stop()
    yield
    scene.made.cluster.services["lock-worker"].start()


@contextmanager
def _messages_stopped(scene: Scene) -> Iterator[None]:
    scene.made.cluster.services["notification-worker"].stop()
    yield
    scene.made.cluster.services["notification-worker"].start()


@contextmanager
def _broker_stopped(scene: Scene) -> Iterator[None]:
    scene.broker.stop()
    yield
    scene.broker.start()


@contextmanager
def _disk_alarm(scene: Scene) -> Iterator[None]:
    scene.broker.limit_disk(str(10**15))
    yield
    scene.broker.limit_disk(str(200 * 10**6))


@contextmanager
def _database_stopped(scene: Scene) -> Iterator[None]:
    scene.database.stop()
    yield
    scene.database.start()


@contextmanager
def _database_slow(scene: Scene) -> Iterator[None]:
    """Somebody's long statements stand before every booking, again and again."""
    over = threading.Event()

    def lock_again_and_again() -> None:
        while not over.wait(0.02):
            scene.execute("begin; lock table reservation_api.audit_log in exclusive mode; select pg_sleep(0.3); commit")

    blocker = threading.Thread(target=lock_again_and_again, daemon=True)
    blocker.start()
    yield
    over.set()
    blocker.join()


@contextmanager
def _provider(scene: Scene, **fault: object) -> Iterator[None]:
    answer = httpx.post(f"{scene.made.sandbox}/_sandbox/faults", json={"provider": "bold", **fault}, timeout=10)
    number = answer.raise_for_status().json()["id"]
    yield
    httpx.delete(f"{scene.made.sandbox}/_sandbox/faults/{number}", timeout=10).raise_for_status()


@contextmanager
def _provider_down(scene: Scene) -> Iterator[None]:
    with _provider(scene, kind="down"):
        yield


@contextmanager
def _wrong_credential(scene: Scene) -> Iterator[None]:
    with _provider(scene, operation="create_link", kind="provider_error", value={"status": 403}):
        yield
    scene.discard_dead_letters()


@contextmanager
def _poison_message(scene: Scene) -> Iterator[None]:
    message = {
        "properties": {},
        "routing_key": "lock-worker.issue-passcode",
        "payload": "{",
        "payload_encoding": "string",
    }
    answer = httpx.post(f"{scene.broker.management}/api/exchanges/%2f/amq.default/publish", json=message, timeout=10)
    if answer.raise_for_status().json() != {"routed": True}:
        raise StartFailed("the poison message found no queue")
    yield
    scene.discard_dead_letters()


@contextmanager
def _event_without_queue(scene: Scene) -> Iterator[None]:
    """As when a queue was deleted too early: its row is tried again and again, and grows old. The API's outbox, because
    no other service may publish to a queue directly."""
    scene.execute(
        "insert into reservation_api.outbox (lane, exchange, routing_key, message_id, type, properties, body)"
        " values (0, '', 'nobody.listens', gen_random_uuid(), 'drill',"
        ' \'{"headers": {}, "app_id": "drill", "correlation_id": "drill"}\', \'{}\')'
    )
    yield
    scene.execute("delete from reservation_api.outbox where routing_key = 'nobody.listens'")


@contextmanager
def _relay_locked_out(scene: Scene) -> Iterator[None]:
    """A stranger's session has the relay's lock: waits for it first, so that it is next when the holder goes."""
    lock = "hashtext('llegada.relay'), hashtext('lock_worker')"
    with psycopg.connect(scene.made.infrastructure.database_url, autocommit=True) as stranger:
        waiting = threading.Thread(target=stranger.execute, args=(f"select pg_advisory_lock({lock})".encode(),))
        waiting.start()
        while waiting.is_alive():
            scene.execute("select pg_terminate_backend(backend_pid) from lock_worker.relay_heartbeat")
            time.sleep(0.5)
        yield


@contextmanager
def _deadline_near(scene: Scene) -> Iterator[None]:
    scene.execute(
        "insert into reservation_api.sire_rows"
        " (organization_id, key, reservation_id, movement, intent, moved_on, line, due_at)"
        " values (1, 'drill', 1, 'entry', 1, current_date, '-', now() + interval '1 hour')"
    )
    yield
    scene.execute("delete from reservation_api.sire_rows where key = 'drill'")


@contextmanager
def _nobody_has_the_clock(scene: Scene) -> Iterator[None]:
    """Every process was told that another one does the periodic work."""
    api = scene.made.cluster.services[API]
    for where in ("elsewhere", "here"):
        api.stop()
        api.change_environment({"PERIODIC_WORK": where})
        api.start()
        if where == "elsewhere":
            yield


DRILLS = (
    Drill("a worker is stopped", frozenset({"ProcessDown", "NobodyConsumes"}), _worker_stopped),
    Drill("a poison message", frozenset({"DeadLettersOpen"}), _poison_message),
    Drill("a wrong credential", frozenset({"CredentialsRefused"}), _wrong_credential),
    Drill("a provider is down", frozenset({"ProviderDown"}), _provider_down),
    Drill("the database is slow", frozenset({"AnswersTooSlow"}), _database_slow),
    Drill("the database is stopped", frozenset({"DatabaseAway", "RequestsFail"}), _database_stopped),
    Drill("the broker is stopped", frozenset({"BrokerDown"}), _broker_stopped),
    Drill("the broker's disk is full", frozenset({"BrokerAlarm"}), _disk_alarm),
    Drill("a queue is gone", frozenset({"Unroutable", "OutboxStuck"}), _event_without_queue),
    Drill("the relay is locked out", frozenset({"NoRelay"}), _relay_locked_out),
    Drill("a registration is due", frozenset({"SireDeadlineNear"}), _deadline_near),
    Drill("nobody has the clock", frozenset({"ClockworkStopped"}), _nobody_has_the_clock),
    Drill("messages stand still", frozenset({"MessagesLate", "SyntheticReservationOld"}), _messages_stopped),
)
SHORT = DRILLS[:2]
"""What every change runs: a cause that the broker and the scrape see, and one that only our own numbers show."""

"""Broker and database come and go; services start in any order. Nothing that was accepted is lost."""

import time

import httpx
import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage

WORKERS = ("payment-worker", "notification-worker")


def _start_workers(desk: Desk) -> None:
    for name in WORKERS:
        if not desk.system.cluster.services[name].running:
            desk.system.cluster.services[name].start()


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    """The API alone, on a broker that has its queues but nobody at them."""
    desk = stage.system(start=False)
    desk.system.cluster.services["reservation-api"].start()
    settings = {"name": "Hostal Demo"}
    assert desk.admin.put("/api/organizations/1/settings", json=settings).status_code == 200
    return desk


def test_the_api_alone_takes_reservations_and_late_workers_work_them(desk: Desk) -> None:
    desk.clear()
    for name in WORKERS:
        desk.system.cluster.services[name].stop()
    created = [desk.create(f"+57300100{number:04}") for number in range(10)]
    _start_workers(desk)
    for reservation in created:
        desk.sent(reservation["id"])
    assert len(desk.effects(provider="whatsapp")) == 10


@pytest.mark.alone
def test_without_a_broker_reservations_are_accepted_fast_and_worked_later(desk: Desk) -> None:
    desk.clear()
    _start_workers(desk)
    broker = desk.system.infrastructure.broker
    if broker is None:
        pytest.skip("the broker is not ours to stop")
    broker.stop()
    rounds, created = [], []
    for ten_thousands in range(3):  # the machine may be busy with others for a moment, not three times
        seconds = []
        for number in range(50):
            started = time.monotonic()
            created.append(desk.create(f"+5730020{ten_thousands}{number:04}"))
            seconds.append(time.monotonic() - started)
        rounds.append(sorted(seconds)[46])
    assert min(rounds) < 0.05, f"p95 of each round: {rounds} s"
    stats = desk.admin.get("/api/admin/queue/stats").json()["data"]
    assert stats["broker"]["reachable"] is False
    broker.start()
    for reservation in created:
        desk.sent(reservation["id"], 90)
    assert len(desk.effects(provider="bold")) == len(created)
    assert len(desk.effects(provider="whatsapp")) == len(created)


def test_without_a_database_the_answer_is_a_clear_503_and_nothing_is_half_done(desk: Desk) -> None:
    database = desk.system.infrastructure.database
    if database is None:
        pytest.skip("the database is not ours to stop")
    _start_workers(desk)
    before = desk.rows("select count(*) from reservation_api.reservations")
    database.stop()
    answer = desk.api.post("/api/reservations", json={"guestName": "A", "contact": "+573001234567", "amount": 1000})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    worker = desk.system.cluster.ports["payment-worker"]
    until(lambda: httpx.get(f"http://127.0.0.1:{worker}/health/ready").status_code == 503)
    database.start()
    until(lambda: desk.api.get("/api/reservations").status_code == 200)
    assert desk.rows("select count(*) from reservation_api.reservations") == before
    desk.clear()
    created = desk.create()
    desk.sent(created["id"])
    until(lambda: httpx.get(f"http://127.0.0.1:{worker}/health/ready").status_code == 200)

"""Money and words that come back: Bold's and WhatsApp's webhooks, through all processes (J2, J6, J11, J12)."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage

BOLD = {"provider": "bold", "secret": "demo-bold-secret"}
WHATSAPP = {"provider": "whatsapp", "secret": "demo-app-secret"}
NUMBER = "1000000001"
RULES = [{"keywords": ["wifi"], "texts": {"es": "Hola {{guestName}}, la clave es 1234"}}]


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    desk = stage.system()
    settings = {"name": "Hostal Demo", "replies": RULES}
    assert desk.admin.put("/api/organizations/1/settings", json=settings).status_code == 200
    return desk


def webhook(desk: Desk, order: dict[str, Any], *events: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    url = f"{desk.system.api}/api/webhooks/{order['provider']}"
    answer = desk.sandbox.post("/_sandbox/webhooks", json={**order, "url": url, "events": events, **more}, timeout=120)
    assert answer.status_code in (200, 201), answer.text
    found: Any = answer.json()
    deliveries: list[dict[str, Any]] = found["deliveries"] if isinstance(found, dict) else found
    return deliveries


def act(desk: Desk, number: int, action: str, body: Any = None) -> httpx.Response:
    method = "PUT" if action == "guest-contact" else "POST"
    return desk.api.request(method, f"/api/reservations/{number}/{action}", json=body or {})


def timeline(desk: Desk, number: int) -> list[str]:
    entries = desk.api.get(f"/api/reservations/{number}/timeline", params={"pageSize": 200}).json()["data"]
    return [entry["type"] for entry in entries]


def sent_to(desk: Desk, recipient: str) -> list[dict[str, Any]]:
    return [effect for effect in desk.effects() if effect["recipient"] == recipient]


def test_a_new_contact_gets_a_new_link_and_the_old_one_nothing_more(desk: Desk) -> None:
    desk.clear()
    created = desk.create("+573005000001")
    desk.sent(created["id"])
    answer = act(desk, created["id"], "guest-contact", {"contact": "new@guest.example"})
    assert answer.status_code == 200, answer.text
    until(lambda: desk.step(created["id"], "welcome")["state"] == "completed")
    assert len(sent_to(desk, "new@guest.example")) == 1
    assert len(sent_to(desk, "573005000001")) == 1
    assert len(desk.links_of(created["id"])) == 2
    until(lambda: desk.get(created["id"])["processingStatus"] == "completed")


def test_a_payment_is_shown_once_however_often_it_is_told(desk: Desk) -> None:
    desk.clear()
    created = desk.create("+573005000002")
    desk.sent(created["id"])
    (link,) = desk.links_of(created["id"])
    sale = {"link": link["id"], "type": "SALE_APPROVED", "payment_id": "P-2", "event_id": "E-2"}
    told = webhook(desk, BOLD, sale, copies=5)
    assert {delivery["status"] for delivery in told} == {200}
    until(lambda: desk.get(created["id"])["paymentStatus"] == "paid")
    assert desk.get(created["id"])["paidAmount"] == 180_000
    assert timeline(desk, created["id"]).count("payment.settled") == 1
    act(desk, created["id"], "guest-contact", {"contact": "+573005000003"})
    until(lambda: desk.step(created["id"], "welcome")["state"] == "completed")
    assert len(desk.links_of(created["id"])) == 1, "who has paid is asked no more"


def test_the_same_payments_in_any_of_ten_orders_give_the_same_state(desk: Desk) -> None:
    created = [desk.create(f"+57300510{n:04}")["id"] for n in range(10)]
    for number in created:
        desk.sent(number)
    sales = [("a", "SALE_REJECTED", 100_000), ("a", "SALE_APPROVED", 100_000), ("a", "VOID_APPROVED", 100_000)]
    sales += [("b", "SALE_APPROVED", 80_000), ("c", "SALE_REJECTED", 180_000)]
    done = "select count(*) from payment_worker.inbox where subscriber = 'payment-worker.settle' and outcome = 'done'"
    wanted = desk.rows(done)[0][0] + len(sales) * len(created)
    for seed, number in enumerate(created):
        (link,) = desk.links_of(number)
        events = [
            {"link": link["id"], "payment_id": f"P-{number}{p}", "event_id": f"E-{number}{p}{kind}", "type": kind}
            | {"amount": amount}
            for p, kind, amount in sales
        ]
        told = webhook(desk, {**BOLD, "order": "shuffled", "seed": seed}, *events, copies=2)
        assert [delivery["status"] for delivery in told] == [200] * 10
    until(lambda: desk.rows(done)[0][0] >= wanted, what="every event is worked")

    def states() -> set[tuple[str, int]]:
        return {(data["paymentStatus"], data["paidAmount"]) for data in map(desk.get, created)}

    until(lambda: states() == {("partially_paid", 80_000)}, what="all show the same")


def test_the_same_statuses_in_any_of_ten_orders_give_the_same_state(desk: Desk) -> None:
    own = desk.sandbox.get("/_sandbox/settings").json()["whatsapp"]["webhook"]
    assert desk.sandbox.patch("/_sandbox/settings/whatsapp", json={"webhook": None}).status_code == 200
    created = [desk.create(f"+57300520{n:04}")["id"] for n in range(10)]
    for seed, number in enumerate(created):
        desk.sent(number)
        (message,) = sent_to(desk, f"57300520{seed:04}")
        known = {"message_id": message["id"]}
        statuses = [{**known, "status": name} for name in ("sent", "delivered", "read")]
        statuses.append({**known, "status": "failed", "code": 131053})
        if seed == 0:
            webhook(desk, WHATSAPP, statuses[-1])
            until(lambda: desk.step(created[0], "confirmation")["state"] == "failed", what="it has not arrived")
        told = webhook(desk, {**WHATSAPP, "order": "shuffled", "seed": seed}, *statuses, copies=2)
        assert {delivery["status"] for delivery in told} == {200}
    assert desk.sandbox.patch("/_sandbox/settings/whatsapp", json={"webhook": own}).status_code == 200
    for number in created:
        until(lambda n=number: "notification.read" in timeline(desk, n))  # type: ignore[misc]
        until(lambda n=number: desk.step(n, "confirmation")["state"] == "completed", what="it has arrived")  # type: ignore[misc]


@pytest.mark.parametrize("forged", ["wrong_key", "missing", "altered_body"])
def test_forged_webhooks_change_nothing(desk: Desk, forged: str) -> None:
    created = desk.create("+573005000004")
    desk.sent(created["id"])
    (link,) = desk.links_of(created["id"])
    heard = (
        "select (select count(*) from payment_worker.inbox where subscriber = 'payment-worker.settle'),"
        " (select count(*) from notification_worker.inbox where subscriber = 'notification-worker.note-message')"
    )
    before = desk.rows(heard)
    sale = {"link": link["id"], "type": "SALE_APPROVED"}
    told = webhook(desk, BOLD, sale, copies=300, forged=forged)
    inbound = {"from": "573005000004", "text": "wifi", "phone_number_id": NUMBER}
    told += webhook(desk, WHATSAPP, inbound, copies=300, forged=forged)
    assert {delivery["status"] for delivery in told} == {401}
    assert len(told) == 600
    assert desk.get(created["id"])["paymentStatus"] == "pending"
    messages = desk.api.get("/api/messages", params={"reservationId": created["id"]}).json()
    assert messages["meta"]["total"] == 0
    assert desk.rows(heard) == before


def test_a_guest_is_answered_once_by_a_rule_and_else_by_staff(desk: Desk) -> None:
    created = desk.create("+573005000005")
    desk.sent(created["id"])
    desk.clear()
    asked = {"from": "573005000005", "phone_number_id": NUMBER, "text": "¿Hay wifi?", "message_id": "wamid.IN5"}
    other = {**asked, "text": "¿Puedo traer a mi perro?", "message_id": "wamid.IN6"}
    told = webhook(desk, WHATSAPP, asked, other, batch=True, copies=10)
    assert {delivery["status"] for delivery in told} == {200}

    def states() -> dict[str, str]:
        found = desk.api.get("/api/messages", params={"reservationId": created["id"]}).json()["data"]
        return {message["text"]: message["state"] for message in found}

    until(lambda: states() == {asked["text"]: "answered", other["text"]: "needs_staff"})
    (answer,) = sent_to(desk, "573005000005")
    assert answer["content"]["body"] == "Hola Ana Gómez, la clave es 1234"
    waiting = desk.api.get("/api/messages", params={"state": "needs_staff"}).json()["data"]
    assert desk.api.post(f"/api/messages/{waiting[0]['id']}/done", json={}).status_code == 200
    until(lambda: "guest.message_answered" in timeline(desk, created["id"]))


def test_what_was_not_sent_yet_is_dropped_when_the_guest_cancels(desk: Desk) -> None:
    desk.clear()
    desk.fault(provider="bold", kind="status", value={"status": 429, "retry_after": 5}, times=1)
    created = desk.create("+573005000006")
    until(lambda: desk.step(created["id"], "paymentLink")["state"] == "processing")
    assert act(desk, created["id"], "cancel", {"reason": "ill"}).status_code == 200
    until(lambda: "job.skipped" in timeline(desk, created["id"]), 40)
    assert desk.get(created["id"])["processingStatus"] == "completed"
    assert sent_to(desk, "573005000006") == []
    assert desk.links_of(created["id"]) == []


@contextmanager
def listening(desk: Desk, path: str, last: str | None = None) -> Iterator[list[dict[str, Any]]]:
    """The events of a stream, as they come, in a thread of its own."""
    heard: list[dict[str, Any]] = []
    ready, headers = threading.Event(), {"Last-Event-ID": last} if last else {}
    response = desk.api.send(desk.api.build_request("GET", path, headers=headers), stream=True)

    def listen() -> None:
        entry: dict[str, Any] = {}
        try:
            for line in response.iter_lines():
                ready.set()
                name, _, value = line.partition(": ")
                if name in ("id", "event"):
                    entry[name] = value
                elif name == "data":
                    entry |= json.loads(value)
                elif not line and "reservationId" in entry:
                    heard.append(entry)
                    entry = {}
        except (httpx.HTTPError, httpx.StreamError):
            ready.set()  # the test has hung up

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield heard
    finally:
        response.close()


def test_the_frontend_follows_a_reservation_live_and_goes_on_after_a_cut(desk: Desk) -> None:
    with listening(desk, "/api/events") as heard:
        created = desk.create("+573005000007")

        def types() -> list[str]:
            return [entry["type"] for entry in heard if entry["reservationId"] == created["id"]]

        until(lambda: "notification.sent" in types())
    first = next(entry for entry in heard if entry["reservationId"] == created["id"])
    with listening(desk, f"/api/reservations/{created['id']}/events", first["id"]) as again:
        until(lambda: {"payment.link_created", "notification.sent"} <= {entry["type"] for entry in again})
    assert first["id"] not in {entry["id"] for entry in again}

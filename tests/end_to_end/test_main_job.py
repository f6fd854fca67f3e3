"""J1 through all processes: a reservation gets its link and its message, whatever the providers do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage


@pytest.fixture(scope="module")
def shared_desk(stage: Stage) -> Desk:
    return stage.system()


@pytest.fixture
def desk(shared_desk: Desk) -> Iterator[Desk]:
    shared_desk.clear()
    yield shared_desk
    shared_desk.clear()


def test_a_reservation_gets_its_link_and_its_message(desk: Desk) -> None:
    created = desk.create()
    assert created["processingStatus"] == "pending"
    data = desk.sent(created["id"])
    assert data["processingStatus"] == "completed"
    assert data["paymentLink"].startswith("https://checkout.bold.co/LNK_")
    assert data["paymentLink"] in data["sentMessage"]
    assert data["checkInLink"] in data["sentMessage"]
    assert "Ana Gómez" in data["sentMessage"]
    assert "Hostal Demo" in data["sentMessage"]
    assert data["sentMessageAt"]
    (link,) = desk.effects(provider="bold")
    (message,) = desk.effects(provider="whatsapp")
    assert (link["amount"], message["recipient"]) == (180_000, "573001234567")
    assert link["expiration_date"] is not None
    assert message["content"]["name"] == "reservation_checkin_invitation"


def test_a_guest_without_a_phone_gets_an_email(desk: Desk) -> None:
    created = desk.create("ana@guest.example", language="de")
    desk.sent(created["id"])
    (mail,) = desk.effects(provider="smtp")
    assert mail["recipient"] == "ana@guest.example"
    assert "Hallo Ana" in mail["content"]
    assert desk.effects(provider="whatsapp") == []


def test_both_channels_where_both_are_known(desk: Desk) -> None:
    created = desk.create(guestEmail="ana@guest.example")
    desk.sent(created["id"])
    until(lambda: desk.effects(provider="whatsapp") and desk.effects(provider="smtp"))
    assert len(desk.effects()) == 3


def test_the_timeline_tells_everything_and_who_did_it(desk: Desk) -> None:
    created = desk.create()
    desk.sent(created["id"])
    entries = desk.api.get(f"/api/reservations/{created['id']}/timeline").json()["data"]
    types = [entry["type"] for entry in entries]
    assert {"reservation.created", "payment.link_created", "notification.ready", "notification.sent"} <= set(types)
    assert [entry["actor"] for entry in entries if entry["actor"]] == ["staff@demo"]
    assert "+573001234567" not in json.dumps(entries)


def test_the_third_attempt_succeeds_after_two_errors_of_the_provider(desk: Desk) -> None:
    desk.fault(
        provider="bold", operation="create_link", kind="provider_error", value={"status": 500, "code": "X"}, times=2
    )
    created = desk.create()
    until(lambda: desk.step(created["id"], "paymentLink")["attempt"] == 1, what="the first failure shows")
    step = desk.step(created["id"], "paymentLink")
    assert (step["state"], step["attempts"]) == ("processing", 3)
    assert step["nextTryAt"] is not None
    desk.sent(created["id"])
    assert len(desk.links_of(created["id"])) == 1
    retries = desk.rows(
        f"select attempt, pass from payment_worker.inbox where outcome = 'done' and pass = 2 and attempt = 2"
        f" and {created['id']} > 0"
    )
    assert retries


def test_a_provider_that_never_works_ends_in_the_dead_letters_and_in_plain_words(desk: Desk) -> None:
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 500, "code": "X"})
    created = desk.create()
    until(lambda: desk.get(created["id"])["processingStatus"] == "failed", what="the step shows failed")
    step = desk.step(created["id"], "paymentLink")
    assert (step["state"], step["attempt"]) == ("failed", 3)
    assert "Bold had an error" in step["reason"]
    assert desk.step(created["id"], "confirmation")["state"] != "completed"
    letter = _stored(desk, created["id"])
    assert (letter["queue"], letter["attempts"]) == ("payment-worker.create-link", 3)


def test_a_dead_letter_is_replayed_when_the_cause_is_gone_and_the_guest_gets_one_link(desk: Desk) -> None:
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 422, "code": "AP002"})
    created = desk.create()
    letter = _stored(desk, created["id"])
    wanted = {"ids": [letter["id"]]}
    dry = desk.admin.post("/api/admin/dead-letters/replays", json={**wanted, "dryRun": True}).json()["data"]
    assert dry["wouldBeTried"] == dry["total"] == 1
    desk.sandbox.delete("/_sandbox/faults")
    made = desk.admin.post("/api/admin/dead-letters/replays", json=wanted)
    assert made.status_code == 202, made.text
    data = desk.sent(created["id"])
    (link,) = desk.links_of(created["id"])
    assert data["paymentLink"] == link["url"]
    address = f"/api/admin/dead-letters/replays/{made.json()['data']['id']}"
    until(lambda: desk.admin.get(address).json()["data"]["state"] == "finished", what="the replay says it is finished")
    assert desk.admin.get(address).json()["data"]["done"] == 1
    assert _dead_letter(desk, created["id"]) is None
    checked = llegada(desk, "dead-letters", "check")
    assert checked["missing"] == []
    assert llegada(desk, "topology", "check", "--json") == []
    shown = llegada(desk, "dead-letters", "show", str(letter["id"]))
    assert shown["state"] == "done"
    assert [entry["action"] for entry in shown["log"]] == ["replay", "finished"]


def test_what_the_provider_refuses_is_a_dead_letter_at_once(desk: Desk) -> None:
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 422, "code": "AP002"})
    created = desk.create()
    until(lambda: desk.get(created["id"])["processingStatus"] == "failed")
    assert desk.step(created["id"], "paymentLink")["attempt"] == 1


def test_a_lost_answer_makes_an_orphan_that_is_never_shown_and_expires(desk: Desk) -> None:
    desk.fault(provider="bold", operation="create_link", kind="answer_lost", times=1)
    created = desk.create()
    data = desk.sent(created["id"])
    orphan, shown = desk.links_of(created["id"])
    assert data["paymentLink"] == shown["url"]
    assert orphan["url"] not in json.dumps(data)
    assert orphan["expiration_date"] is not None
    (effect,) = desk.rows(
        f"select state, unknown_outcomes from payment_worker.effects where subject = 'reservation/{created['id']}'"
    )
    assert effect == ("done", 1)


def test_an_amount_that_bold_does_not_take_is_said_in_plain_words(desk: Desk) -> None:
    created = desk.create(amount=500)
    until(lambda: desk.get(created["id"])["processingStatus"] == "failed")
    assert "500 COP" in desk.step(created["id"], "paymentLink")["reason"]


def test_the_same_key_is_the_same_reservation(desk: Desk) -> None:
    first = desk.create(key="booking-1")
    assert desk.create(key="booking-1") == first
    body = {"guestName": "Ana Gómez", "contact": "+573001234567", "amount": 1}
    other = desk.api.post("/api/reservations", json=body, headers={"Idempotency-Key": "booking-1"})
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    desk.sent(first["id"])


def test_an_organizations_own_words_are_used(desk: Desk) -> None:
    words = {"confirmation": {"es": {"text": "Hola {{guestName}}: {{paymentLink}} {{checkInLink}}"}}}
    settings = {"name": "Hostal Demo", "timeZone": "America/Bogota", "wordings": words}
    assert desk.admin.put("/api/organizations/1/settings", json=settings).status_code == 200
    until(lambda: desk.rows("select 1 from notification_worker.wordings where document <> '{}'"))
    created = desk.create()
    assert desk.sent(created["id"])["sentMessage"].startswith("Hola Ana Gómez: https://checkout")
    settings.pop("wordings")
    assert desk.admin.put("/api/organizations/1/settings", json=settings).status_code == 200


def test_queue_stats_know_every_queue(desk: Desk) -> None:
    stats = desk.admin.get("/api/admin/queue/stats").json()["data"]
    names = {queue["name"] for queue in stats["queues"]}
    assert {"payment-worker.create-link", "notification-worker.send.bulk", "reservation-api.project"} <= names
    assert stats["broker"]["reachable"] is True
    until(lambda: _all_consumed(desk), what="the broker's statistics know every consumer")
    assert desk.api.get("/api/admin/queue/stats").status_code == 403


def test_logs_hold_no_phone_number_name_or_key(desk: Desk) -> None:
    created = desk.create("+573009998877", guestEmail="secreta@guest.example", guestName="Xiomara Quiroz")
    desk.sent(created["id"])
    folder = desk.system.cluster._log
    found = subprocess.run(
        ["grep", "-rlE", "573009998877|secreta@guest|Xiomara|demo-bold-key|demo-whatsapp-token", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""


def test_health_and_metrics_of_every_process(desk: Desk) -> None:
    for name, port in desk.system.cluster.ports.items():
        base = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{base}/health/live").json()["service"] == name
        assert httpx.get(f"{base}/health/ready").status_code == 200
        assert f'llegada_relay_active{{service="{name}"}} 1.0' in httpx.get(f"{base}/metrics").text


def _all_consumed(desk: Desk) -> bool:
    queues = desk.admin.get("/api/admin/queue/stats").json()["data"]["queues"]
    return all(queue["consumers"] for queue in queues)


def _dead_letter(desk: Desk, reservation_id: int) -> dict[str, Any] | None:
    """The open dead letter of a reservation, as the desk shows it."""
    found = desk.admin.get("/api/admin/dead-letters", params={"text": f"reservation/{reservation_id}"}).json()["data"]
    return next((letter for letter in found if letter["subject"] == f"reservation/{reservation_id}"), None)


def _stored(desk: Desk, reservation_id: int) -> dict[str, Any]:
    """The same, as soon as it is there."""
    letter = until(lambda: _dead_letter(desk, reservation_id), what="the dead letter is at the desk")
    assert letter is not None
    return letter


def llegada(desk: Desk, *arguments: str) -> Any:
    """What the operator's command prints."""
    environment = {**os.environ, **desk.system.infrastructure.environment}
    command = [sys.executable, "-m", "llegada.runtime", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

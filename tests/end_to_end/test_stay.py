"""A whole stay through all processes (J3, J5, J7, J12): codes, messages, SIRE, the end.

What happens when a provider fails or a process is killed: test_jobs_under_faults.py.
"""

from typing import Any

import httpx
import pytest

from llegada_dev.system import DEMO_SETTINGS
from llegada_dev.waiting import until

from .conftest import Desk, Stage


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    return stage.system()


def act(desk: Desk, number: int, action: str, body: Any = None) -> httpx.Response:
    answer = desk.api.post(f"/api/reservations/{number}/{action}", json=body or {})
    assert answer.status_code == 200, answer.text
    return answer


def state(desk: Desk, number: int, step: str) -> str:
    return next((s["state"] for s in desk.get(number)["steps"] if s["step"] == step), "")


def codes_at_doors(desk: Desk, number: int) -> dict[int, set[str]]:
    """Lock → codes that open it for this stay, from the provider's own ledger."""
    name = f"RES-{number}-"
    doors: dict[int, set[str]] = {}
    gone = {effect["id"] for effect in desk.effects(operation="delete_passcode", reference_prefix=name)}
    for effect in desk.effects(operation="set_passcode", reference_prefix=name):
        if effect["id"] not in gone:
            assert effect["at_door"]
            doors.setdefault(effect["lock"], set()).add(effect["code"])
    return doors


def messages(desk: Desk, recipient: str, template: str) -> list[dict[str, Any]]:
    return desk.effects(provider="whatsapp", recipient=recipient.removeprefix("+"), template=template)


def test_a_guest_comes_in_gets_another_code_and_leaves(desk: Desk) -> None:
    phone = "+573006000001"
    number = desk.sent(desk.create(phone)["id"])["id"]
    act(desk, number, "check-in", {"roomNumber": "204"})
    until(lambda: state(desk, number, "check_in_confirmation") == "completed")
    (sent,) = messages(desk, phone, "reservation_checkin_confirmation")
    doors = codes_at_doors(desk, number)
    assert set(doors) == {1, 2}
    (code,) = doors[1]
    assert doors[2] == {code}
    assert sent["parameters"] == ["Ana Gómez", "204", "Hostal Demo", code, "TTLock"]
    shown = until(lambda: desk.get(number)["doorCodes"])
    assert {entry["code"] for entry in shown} == {code}
    assert code not in (desk.get(number)["sentMessage"] or "")
    timeline = desk.api.get(f"/api/reservations/{number}/timeline", params={"pageSize": 200}).text
    assert code not in timeline

    act(desk, number, "pin")
    until(lambda: state(desk, number, "pin") == "completed")
    (sent,) = messages(desk, phone, "reservation_pin")
    new = sent["parameters"][2]
    assert new != code
    assert codes_at_doors(desk, number) == {1: {new}, 2: {new}}

    act(desk, number, "check-out")
    until(lambda: state(desk, number, "passcodeRevoked") == "completed")
    assert codes_at_doors(desk, number) == {}
    until(lambda: desk.get(number)["doorCodes"] == [])
    for service in desk.system.cluster.services.values():
        assert new not in service.last_words(100_000)


def test_a_busy_gateway_is_waited_for_and_makes_no_second_code(desk: Desk) -> None:
    desk.clear()
    phone = "+573006000002"
    number = desk.sent(desk.create(phone)["id"])["id"]
    desk.fault(provider="ttlock", kind="provider_error", value=-3003, operation="add", times=4)
    act(desk, number, "check-in", {"roomNumber": "204"})
    until(lambda: state(desk, number, "check_in_confirmation") == "completed", 60)
    assert {lock: len(codes) for lock, codes in codes_at_doors(desk, number).items()} == {1: 1, 2: 1}
    assert len(desk.effects(operation="set_passcode", reference_prefix=f"RES-{number}-")) == 2
    assert len(messages(desk, phone, "reservation_checkin_confirmation")) == 1
    desk.sandbox.delete("/_sandbox/faults")


def test_a_lock_that_refuses_is_told_and_nothing_leaves_without_a_code(desk: Desk) -> None:
    desk.clear()
    phone = "+573006000003"
    number = desk.sent(desk.create(phone)["id"])["id"]
    desk.fault(provider="ttlock", kind="provider_error", value=-4043, operation="add", times=1)
    act(desk, number, "check-in", {"roomNumber": "204"})
    until(lambda: state(desk, number, "passcode") == "failed")
    failed = desk.step(number, "passcode")
    assert "cannot do this" in failed["reason"]
    assert failed["advice"]
    assert state(desk, number, "check_in_confirmation") == "pending"
    assert messages(desk, phone, "reservation_checkin_confirmation") == []
    act(desk, number, "pin")
    until(lambda: state(desk, number, "pin") == "completed")


def test_a_guest_who_cancels_keeps_no_code(desk: Desk) -> None:
    desk.clear()
    number = desk.create("+573006000005")["id"]
    desk.sent(number)
    changed = desk.api.put(f"/api/reservations/{number}/guest-contact", json={"contact": "+573006000006"})
    assert changed.status_code == 200
    until(lambda: state(desk, number, "welcome") == "completed")
    assert set(codes_at_doors(desk, number)) == {1}
    act(desk, number, "cancel")
    until(lambda: state(desk, number, "passcodeRevoked") == "completed", 60)
    assert codes_at_doors(desk, number) == {}


def test_a_foreigner_is_registered_at_entry_and_exit(desk: Desk) -> None:
    desk.clear()
    settings = {**DEMO_SETTINGS, "sire": {"hotelCode": "12345", "cityCode": "5001"}}
    assert desk.admin.put("/api/organizations/1/settings", json=settings).status_code == 200
    number = desk.sent(desk.create("+573006000007")["id"])["id"]
    guest = {
        "guestNationality": "DE",
        "guestDocumentType": "passport",
        "guestDocumentNumber": "C01X00T47",
        "guestBirthDate": "1990-02-01",
        "guestFirstSurname": "Müller",
        "guestFirstNames": "Erika",
    }
    act(desk, number, "check-in", {"guests": [{**guest, "guestNationality": None}]})
    until(lambda: state(desk, number, "sire") == "failed", 60)
    assert "nationality is missing" in desk.step(number, "sire")["reason"]
    corrected = desk.api.put(f"/api/reservations/{number}/guests", json={"guests": [guest]})
    assert corrected.status_code == 200, corrected.text
    act(desk, number, "sire")
    for step, letter in (("sire", "\tE\t"), ("sireExit", "\tS\t")):
        waiting = until(lambda: desk.api.get("/api/sire/rows", params={"state": "waiting"}).json()["data"])
        made = desk.api.post("/api/sire/files", json={"day": waiting[0]["day"]}).json()["data"]
        content = desk.api.get(f"/api/sire/files/{made['number']}").text
        assert "\tMULLER\t\tERIKA\t" in content
        assert letter in content
        recorded = desk.api.post(f"/api/sire/files/{made['number']}/result", json={"result": "accepted"})
        assert recorded.status_code == 200, recorded.text
        until(lambda step=step: state(desk, number, step) == "completed")  # type: ignore[misc]
        if step == "sire":
            assert desk.get(number)["sireRegisteredAt"]
            act(desk, number, "check-out")

"""Actions at the front desk: what each changes, which event it tells, what is refused and says what is possible."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from llegada.events.job import JobFailed
from llegada.events.lock import Passcode, PasscodeIssued, PasscodeRevoked
from llegada.events.types import OrganizationId, ReservationId
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from reservation_api.timeline.projection import Projection

Reservation = Callable[[], Awaitable[int]]
SETTINGS = {
    "name": "Hostal",
    "locks": [{"lockId": 7, "name": "Puerta", "gateway": "G1"}],
    "sire": {"hotelCode": "12345", "cityCode": "5001"},
}


@pytest.fixture
async def desk(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """An organization with a lock and SIRE."""
    answer = await client.put("/api/organizations/1/settings", json=SETTINGS)
    assert answer.status_code == 200, answer.text
    return client


async def events(database: Database, kind: str) -> list[dict[str, Any]]:
    rows = await database.fetchrow("select array_agg(body order by id) as found from outbox where type = $1", kind)
    assert rows is not None
    return [json.loads(body) for body in rows["found"] or []]


async def act(client: httpx.AsyncClient, number: int, action: str, body: Any = None, **headers: str) -> httpx.Response:
    method = "PUT" if action in ("guest-contact", "guests") else "POST"
    return await client.request(method, f"/api/reservations/{number}/{action}", json=body, headers=headers)


def steps(answer: httpx.Response) -> dict[str, str]:
    return {step["step"]: step["state"] for step in answer.json()["data"]["steps"]}


def issued(number: int, intent: int) -> PasscodeIssued:
    now = datetime.now(UTC)
    code = Passcode(
        lock_id=7, lock_name="Puerta", code="482915", starts_at=now - timedelta(hours=1), ends_at=now + timedelta(1)
    )
    return PasscodeIssued(
        organization_id=OrganizationId(1), reservation_id=ReservationId(number), intent=intent, passcodes=(code,)
    )


async def project(database: Database, *said: PasscodeIssued | PasscodeRevoked | JobFailed) -> None:
    batch = [
        Delivered(e, first(e, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))
        for e in said
    ]
    async with database.transaction() as tx:
        await Projection().project(batch, tx)


async def test_a_new_contact_wants_link_code_and_message_anew(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    answer = await act(desk, number, "guest-contact", {"contact": "new@guest.test"})
    assert answer.status_code == 200, answer.text
    assert "im Hintergrund" in answer.json()["message"]
    data = answer.json()["data"]
    assert (data["guestPhone"], data["guestEmail"]) == (None, "new@guest.test")
    assert steps(answer) == {
        "paymentLink": "pending",
        "confirmation": "skipped",
        "passcode": "pending",
        "welcome": "pending",
    }
    (event,) = await events(database, "reservation.contact_updated")
    assert (event["payment_link_intent"], event["passcode_intent"], event["welcome_intent"]) == (2, 1, 1)
    assert event["contact_version"] == 2
    assert event["stay"]["starts_at"].endswith("T15:00:00-05:00")


async def test_the_same_contact_again_changes_nothing(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    answer = await act(desk, number, "guest-contact", {"contact": "+573001234567"})
    assert answer.status_code == 200
    assert await events(database, "reservation.contact_updated") == []
    assert steps(answer)["confirmation"] == "pending"


async def test_without_locks_nobody_wants_a_code(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    answer = await act(client, number, "check-in")
    assert "passcode" not in steps(answer)
    assert "sire" not in steps(answer)
    (event,) = await events(database, "reservation.checked_in")
    assert event["passcode_intent"] is None


async def test_check_in_tells_code_message_and_registration_with_the_documents(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    guest = {"guestNationality": "DE", "guestDocumentType": "passport", "guestDocumentNumber": "C01X00T47"}
    answer = await act(desk, number, "check-in", {"roomNumber": "204", "guests": [guest]})
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["status"], data["roomNumber"]) == ("checked_in", "204")
    assert data["checkedInAt"]
    assert {"passcode", "check_in_confirmation", "sire"} <= set(steps(answer))
    (event,) = await events(database, "reservation.checked_in")
    assert event["guests"][0]["nationality"] == "DE"
    assert event["guests"][0]["document_number"] == "C01X00T47"
    assert event["stay"]["room"] == "204"
    timeline = (await desk.get(f"/api/reservations/{number}/timeline")).json()["data"]
    assert [entry["actor"] for entry in timeline if entry["type"] == "reservation.check-in"] == ["staff@test"]


async def test_a_code_that_opens_now_is_kept_at_check_in(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await act(desk, number, "guest-contact", {"contact": "new@guest.test"})
    await project(database, issued(number, 1))
    shown = (await desk.get(f"/api/reservations/{number}")).json()["data"]
    assert shown["doorCodes"][0]["code"] == "482915"
    await act(desk, number, "check-in")
    (event,) = await events(database, "reservation.checked_in")
    assert event["passcode_intent"] == 1


async def test_check_out_revokes_and_registers_the_exit(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await act(desk, number, "check-in")
    await project(database, issued(number, 1))
    answer = await act(desk, number, "check-out")
    assert answer.json()["data"]["status"] == "checked_out"
    assert steps(answer) == {
        "paymentLink": "skipped",
        "confirmation": "skipped",
        "passcode": "completed",
        "check_in_confirmation": "skipped",
        "sire": "pending",
        "passcodeRevoked": "pending",
        "sireExit": "pending",
    }
    (event,) = await events(database, "reservation.checked_out")
    assert (event["passcode_revoked_intent"], event["sire_intent"]) == (1, 1)
    revoked = PasscodeRevoked(organization_id=OrganizationId(1), reservation_id=ReservationId(number))
    await project(database, revoked)
    assert (await desk.get(f"/api/reservations/{number}")).json()["data"]["doorCodes"] == []


@pytest.mark.parametrize(
    ("before", "action", "possible"),
    [
        ([], "check-out", "check-in"),
        (["check-in"], "check-in", "check-out"),
        (["cancel"], "check-in", "nothing more"),
        (["no-show"], "cancel", "nothing more"),
        (["check-in", "check-out"], "pin", "guests, sire"),
        ([], "sire", "check-in"),
    ],
)
async def test_a_wrong_transition_is_refused_and_says_what_is_possible(
    desk: httpx.AsyncClient, reservation: Reservation, before: list[str], action: str, possible: str
) -> None:
    number = await reservation()
    for earlier in before:
        assert (await act(desk, number, earlier)).status_code == 200
    answer = await act(desk, number, action)
    assert answer.status_code == 409
    assert possible in answer.json()["detail"]


async def test_a_cancelled_reservation_wants_nothing_more(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    answer = await act(desk, number, "cancel", {"reason": "ill"})
    assert answer.json()["data"]["status"] == "cancelled"
    assert answer.json()["data"]["processingStatus"] == "completed"
    assert set(steps(answer).values()) == {"skipped"}
    (event,) = await events(database, "reservation.cancelled")
    assert (event["reason"], event["passcode_revoked_intent"]) == ("ill", None)


async def test_a_second_click_makes_no_second_code(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    answers = await asyncio.gather(*(act(desk, number, "pin") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(await events(database, "reservation.pin_requested")) == 1


async def test_the_same_idempotency_key_gives_the_same_answer_and_one_event(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    key = {"Idempotency-Key": "check-in-1"}
    answers = await asyncio.gather(*(act(desk, number, "check-in", {}, **key) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert len(await events(database, "reservation.checked_in")) == 1
    other = await act(desk, number, "check-in", {"roomNumber": "1"}, **key)
    assert other.status_code == 409


async def test_an_invitation_takes_the_link_that_is_there(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    answer = await act(desk, number, "invitation", {"customMessage": "Hola {{guestName}}: {{paymentLink}}"})
    assert answer.status_code == 200, answer.text
    (event,) = await events(database, "reservation.invitation_due")
    assert (event["payment_link_intent"], event["invitation_intent"]) == (1, 1)
    refused = await act(desk, number, "invitation", {"customMessage": "{{secret}}"})
    assert refused.status_code == 422
    assert "{{checkInLink}}" in refused.json()["detail"]


async def test_another_organizations_reservation_is_not_there(
    desk: httpx.AsyncClient, reservation: Reservation, token: Callable[..., str]
) -> None:
    number = await reservation()
    answer = await act(desk, number, "check-in", None, Authorization=f"Bearer {token(organization=2)}")
    assert answer.status_code == 404


async def test_only_a_gateways_failed_registration_is_reported_by_hand(
    desk: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    await act(desk, number, "check-in")
    by_file = await act(desk, number, "sire/reported")
    assert (by_file.status_code, "by file" in by_file.json()["detail"]) == (409, True)
    settings = {**SETTINGS, "sire": {**SETTINGS["sire"], "channel": "gateway"}}  # type: ignore[dict-item]
    assert (await desk.put("/api/organizations/1/settings", json=settings)).status_code == 200
    assert (await act(desk, number, "sire/reported")).status_code == 409, "nothing has failed"
    failed = {"job": "sire-worker.submit", "step_name": "sire", "intent": 1, "reservation_id": number}
    told = {"organization_id": 1, "cause_type": "sire.submission_ready", "pass_number": 1, "reason": "nobody knows"}
    about = {"attempt": 1, "attempts": 3, "error_class": "permanent", "advice": "Look at the portal."}
    await project(database, JobFailed.model_validate({**failed, **told, **about}))
    assert (await act(desk, number, "sire/reported", {"movement": "exit"})).status_code == 409
    assert (await act(desk, number, "sire/reported")).status_code == 200
    (event,) = await events(database, "sire.result_recorded")
    assert (event["intent"], event["result"], event["keys"]) == (1, "accepted", [])

"""J4 as the owner measures it: a hundred invitations with slow providers, beside a front desk that goes on working."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage

NUMBER, PARALLEL = 100, 5
LATENCY = (1.0, 3.0)
MEAN = sum(LATENCY) / 2
ZONE = ZoneInfo("America/Bogota")


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    return stage.system()


def settings(**invitations: object) -> dict[str, object]:
    return {"name": "Hostal Demo", "timeZone": ZONE.key, "invitations": invitations}


@pytest.mark.alone
def test_a_hundred_invitations_take_as_long_as_the_providers_do_and_staff_overtake_them(desk: Desk) -> None:
    tomorrow = datetime.now(ZONE).date() + timedelta(days=1)
    stay = {"checkInDate": str(tomorrow), "checkOutDate": str(tomorrow + timedelta(days=2)), "arrivalTime": "23:00"}
    numbers = [desk.create(f"+57300400{n:04}", **stay)["id"] for n in range(NUMBER)]
    until(lambda: len(desk.effects(provider="whatsapp")) == NUMBER, 90, "everybody has the confirmation")
    desk.clear()
    for provider in ("bold", "whatsapp"):
        desk.fault(provider=provider, kind="latency", value={"uniform": LATENCY})
    at = (datetime.now(ZONE) - timedelta(minutes=1)).time().replace(second=0, microsecond=0).isoformat()
    due = settings(at=at, lateFrom="22:00")
    assert desk.admin.put("/api/organizations/1/settings", json=due).status_code == 200
    until(lambda: desk.admin.get("/api/admin/schedule").json()["data"]["runs"], 40, "the run of today")
    began = time.monotonic()
    run = desk.admin.get("/api/admin/schedule").json()["data"]["runs"][0]
    assert (run["invited"], run["leftOut"]) == (NUMBER, 0)
    at_desk = desk.create("+573004990001")
    desk.sent(at_desk["id"], 4 * LATENCY[1])
    overtook = NUMBER - len(desk.effects(provider="whatsapp"))
    assert overtook > NUMBER / 2, "what staff do overtakes what the clock fans out"
    allowed = 1.2 * NUMBER * MEAN / PARALLEL + 2 * LATENCY[1]
    until(lambda: len(desk.effects(provider="whatsapp")) == NUMBER + 1, allowed, "everybody is invited")
    print(f"{NUMBER} invitations: {time.monotonic() - began:.1f} s; allowed {allowed:.1f} s")
    assert len(desk.effects(provider="bold")) == 1, "the links that were there are the guests' links"
    for number in numbers:
        until(lambda number=number: desk.get(number)["invitationSentAt"], 10)  # type: ignore[misc]
    assert datetime.fromisoformat(run["beganAt"]) <= datetime.now(UTC)

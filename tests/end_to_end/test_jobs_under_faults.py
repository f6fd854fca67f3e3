"""Every job of a stay × every provider that it uses × {well, down, answer lost, refused, kill -9 inside the call}.

One running system for the whole table. Each cell has a house of its own (houses.py), so all of them run at the same
time; a killed process holds its effect up for the rest of its lease (45 s), all others finish meanwhile. What may be
doubled and what is left behind is the promise's to say (docs/architecture/promise.md); what guests and staff see stands
in docs/architecture/failures.md.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage
from .houses import MAIL, ZONE, Cell, House, environment

pytestmark = pytest.mark.alone

API, PAYMENTS = "reservation-api", "payment-worker"
FAILURES = ("down", "lost", "refused", "killed")
PROVIDERS = ("bold", "ttlock", "whatsapp", MAIL, "sire")
MESSAGE = "message"
"""WhatsApp or e-mail: a guest gets it by the one that he gave."""


@dataclass(frozen=True)
class Job:
    """`steps`: who does it → the step in which staff see it. The message leaves when all that it waits for is there."""

    start: Callable[[House], None]
    steps: dict[str, str] = field(default_factory=dict)
    locks: bool = False
    sire: str | None = None
    staying: bool = False
    """The guest is in the house before the job begins."""


def change_contact(house: House) -> None:
    house.act("guest-contact", {"contact": house.new_contact}, "PUT")


def check_in(house: House) -> None:
    house.act("check-in", {"roomNumber": "204", "guests": [house.guest()]})


def invite(house: House) -> None:
    """By the clock, whose hour has come; by hand where a fault meets whoever comes next."""
    if house.by_mail:
        return house.act("invitation")
    due = {"enabled": True, "at": evening().time().isoformat("minutes"), "lateFrom": "22:00"}
    return house.configure(invitations=due)


def evening() -> datetime:
    """A minute ago: the time of day at which invitations are due."""
    return datetime.now(ZONE) - timedelta(minutes=1)


def record_result(house: House) -> None:
    (made,) = house.call("GET", "/api/sire/files")
    house.call("POST", f"/api/sire/files/{made['number']}/result", {"result": "accepted"})


JOBS = {
    "J2": Job(change_contact, {"bold": "paymentLink", "ttlock": "passcode", MESSAGE: "welcome"}, locks=True),
    "J3": Job(check_in, {"ttlock": "passcode", MESSAGE: "check_in_confirmation"}, locks=True),
    "J4": Job(invite, {"bold": "paymentLink", MESSAGE: "invitation"}),
    "J5": Job(lambda h: h.act("pin"), {"ttlock": "passcode", MESSAGE: "pin"}, locks=True, staying=True),
    "J6": Job(lambda h: h.write("¿Hay wifi?")),
    "J7": Job(check_in, {"sire": "sire", MESSAGE: "check_in_confirmation"}, sire="gateway"),
    "J7 file": Job(check_in, sire="file"),
    "J7 result": Job(record_result, sire="file", staying=True),
    "J11": Job(lambda h: h.pay(told=True, copies=2)),
    "J12": Job(
        lambda h: h.act("check-out"),
        {"ttlock": "passcodeRevoked", "sire": "sireExit"},
        locks=True,
        sire="gateway",
        staying=True,
    ),
}
USES = {
    "J2": ("bold", "ttlock", "whatsapp", MAIL),
    "J3": ("ttlock", "whatsapp", MAIL),
    "J4": ("bold", "whatsapp", MAIL),
    "J5": ("ttlock", "whatsapp", MAIL),
    "J6": ("whatsapp",),
    "J7": ("sire",),
    "J11": ("bold",),
    "J12": ("ttlock", "sire"),
}
WELL = [Cell(job, "", "well") for job in USES]
HURT = [Cell(job, provider, failure) for job, used in USES.items() for provider in used for failure in FAILURES]
ACCEPTED = [Cell(job, API, "killed") for job in ("J6", "J7 file", "J7 result", "J11")]
"""Accepted by the API, which is killed before any worker has heard of it."""
CELLS = [*WELL, *HURT, *ACCEPTED]

OPERATION = {"bold": "create_link", "ttlock": "add", "whatsapp": "send", MAIL: "data", "sire": "register"}
ASKING = "link_status"
REFUSALS: dict[str, Any] = {"bold": {"status": 422, "code": "AP002"}, "ttlock": -4043, "whatsapp": 131009}
SAID = {
    "bold": "bold refused the request",
    "ttlock": "the lock cannot do this",
    "whatsapp": "whatsapp refused",
    MAIL: "the mail server refuses",
    "sire": "the authority refused guest 1",
}
DOUBLED = {"bold": ("lost", "killed"), MAIL: ("lost", "killed")}
"""Who cannot be asked what it did: a second link, of which one is shown; a second mail with the same Message-ID."""


def operation(cell: Cell) -> str:
    special = {("J11", "bold"): ASKING, ("J12", "ttlock"): "delete"}
    return special.get((cell.job, cell.provider), OPERATION[cell.provider])


@pytest.fixture(scope="module")
def houses(stage: Stage, request: pytest.FixtureRequest) -> dict[Cell, House]:
    """One house for each cell that was chosen: `-k J2-bold-down` has one."""
    desk = stage.system(start=False)
    chosen = [item.callspec.params.get("cell") for item in request.session.items if hasattr(item, "callspec")]
    town = {cell: House(desk, 101 + number, cell) for number, cell in enumerate(CELLS) if cell in chosen}
    for service, values in environment([h.number for h in town.values()], desk.system.sandbox).items():
        desk.system.cluster.services[service].change_environment(values)
    desk.system.cluster.start()
    settle_in(town)
    refuse(desk, town)
    kill_inside_the_calls(desk, town)
    for house in town.values():
        if house.cell.failure != "killed" and (house.cell.job, house.cell.provider) != ("J11", "bold"):
            break_and_start(house)
    return town


def settle_in(town: dict[Cell, House]) -> None:
    """What is there before the jobs begin: everybody has booked and has the confirmation, some are in the house."""
    tomorrow = evening() + timedelta(days=1)
    for cell, house in town.items():
        job = JOBS[cell.job]
        house.configure(locks=job.locks, sire=job.sire)
        house.book(tomorrow if cell.job == "J4" else datetime.now(ZONE))
    for house in town.values():
        house.reach("confirmation")
    staying = [house for cell, house in town.items() if JOBS[cell.job].staying]
    for house in staying:
        check_in(house)
    for house in staying:
        house.reach("check_in_confirmation")
        if house.cell.job == "J12":
            house.reach("sire")
        if house.cell.job == "J7 result":
            row = waiting_row(house)
            house.call("POST", "/api/sire/files", {"day": row["day"]})
    for house in town.values():
        house.begin()


def waiting_row(house: House) -> dict[str, Any]:
    rows: list[dict[str, Any]] = until(lambda: house.call("GET", "/api/sire/rows?state=waiting"), 120, str(house.cell))
    (row,) = rows
    return row


def refuse(desk: Desk, town: dict[Cell, House]) -> None:
    """The portal and the mail server refuse by name."""
    refused = [house for cell, house in town.items() if cell.failure == "refused"]
    documents = {h.document: "el documento no existe" for h in refused if h.cell.provider == "sire"}
    mailboxes = [h.new_contact if h.cell.job == "J2" else h.contact for h in refused if h.by_mail]
    settings: dict[str, dict[str, Any]] = {
        "sire": {"refused_documents": documents},
        "smtp": {"refused_recipients": dict.fromkeys(mailboxes, "550 5.1.1 no such user")},
    }
    for provider, changes in settings.items():
        assert desk.sandbox.patch(f"/_sandbox/settings/{provider}", json=changes).status_code == 200


def break_and_start(house: House) -> None:
    """Order the cell's fault, and begin the job. One mail server is everybody's: its faults go one after the other."""
    cell, job = house.cell, JOBS[house.cell.job]
    if cell.failure == "down":
        once = cell.provider in ("sire", MAIL)  # who files at an authority asks staff after the first
        house.order(operation(cell), "down", times=1 if once else 2)
    elif cell.failure == "lost":
        house.order(operation(cell), "answer_lost")
    elif cell.failure == "refused" and cell.provider in REFUSALS:
        house.order(operation(cell), "provider_error", value=REFUSALS[cell.provider])
    job.start(house)
    if house.by_mail:
        step = job.steps[MESSAGE]
        until(lambda: house.step(step)["state"] in ("completed", "failed"), 60, str(cell))


def kill_inside_the_calls(desk: Desk, town: dict[Cell, House]) -> None:
    """Each job's call has done its work and is held open: kill -9 of everything. What restarts is this harness."""
    cluster = desk.system.cluster
    held = [town[cell] for cell in HURT if cell in town and cell.failure == "killed" and cell.job != "J11"]
    by_clock = [h for h in held if h.cell.job == "J4" and not h.by_mail]  # waits for the clock, so it goes first
    hold(by_clock)
    hold([h for h in held if h not in by_clock and not h.by_mail])
    for house in held:
        if house.by_mail:
            hold([house])
    for name, process in cluster.services.items():
        if name != API:
            process.kill()
    for cell in ACCEPTED:
        if cell in town:
            JOBS[cell.job].start(town[cell])
    cluster.services[API].kill()
    lose_webhooks(desk, town)


def hold(houses: Iterable[House]) -> None:
    """Begin the jobs, and wait until the providers have done what was asked, and say nothing."""
    waiting = list(houses)
    for house in waiting:
        house.order(operation(house.cell), "timeout", value="after_effect")
        JOBS[house.cell.job].start(house)
    for house in waiting:
        until(lambda h=house: h.made(h.cell.provider), 30, f"{house.cell}: the call is held")  # type: ignore[misc]
        assert house.has_met_its_fault()


def restart(desk: Desk) -> None:
    cluster = desk.system.cluster
    for name in cluster.restart_dead():
        cluster.services[name].wait_ready()


def lose_webhooks(desk: Desk, town: dict[Cell, House]) -> None:
    """Guests pay, and Bold's webhooks get lost; asked after a while it fails, and a worker that asks is killed.

    Open links are asked about as soon as the worker starts.
    """
    kinds: dict[str, dict[str, Any]] = {
        "down": {"kind": "down"},
        "lost": {"kind": "answer_lost"},
        "refused": {"kind": "provider_error", "value": {"status": 403}},
        "killed": {"kind": "timeout"},
    }
    unheard = [town[cell] for cell in (Cell("J11", "bold", failure) for failure in kinds) if cell in town]
    asking = [house for house in unheard if house.cell.failure == "killed"]
    for house in unheard:
        house.pay(told=False)
        house.order(ASKING, **kinds[house.cell.failure])
    for asked in ([house for house in unheard if house not in asking], asking, unheard):
        for house in asked:
            house.a_while_later()
        restart(desk)
        if asked is not unheard:
            until(lambda them=asked: all(house.has_met_its_fault() for house in them), 60, "Bold is asked")  # type: ignore[misc]
            desk.system.cluster.services[PAYMENTS].kill()


STEPPED = [cell for cell in CELLS if JOBS[cell.job].steps]


@pytest.mark.parametrize("cell", STEPPED, ids=str)
def test_every_effect_is_made_once_and_stored_whatever_its_provider_does(houses: dict[Cell, House], cell: Cell) -> None:
    house, job = houses[cell], JOBS[cell.job]
    hurt = MESSAGE if cell.provider in ("whatsapp", MAIL) else cell.provider
    missing: set[str] = set()
    if hurt == "sire":
        a_person_looks(house, job.steps["sire"])
    elif cell.failure == "refused":
        missing = {hurt, MESSAGE} & job.steps.keys()
        failed = house.reach(job.steps[hurt], "failed")
        assert SAID[cell.provider] in failed["reason"].lower()
        assert failed["advice"]
    for kind, step in job.steps.items():
        if kind not in missing:
            house.reach(step)
        elif kind != hurt:
            assert house.step(step)["state"] == "pending", "it waits for what was refused"
    if cell.failure == "down":
        until(lambda: house.timeline("job.retrying"), 30, f"{cell}: staff see that it is late")
        assert all(entry["summary"]["reason"] for entry in house.timeline("job.retrying"))
    for kind in job.steps:
        doubled = kind == hurt and cell.failure in DOUBLED.get(cell.provider, ())
        assert len(effects(house, kind)) == (0 if kind in missing else 2 if doubled else 1), json.dumps(
            effects(house, kind)
        )
    is_stored(house, job)


def effects(house: House, kind: str) -> list[dict[str, Any]]:
    """What the job made of this kind."""
    if kind == MESSAGE:
        return house.messages()
    made = house.made(kind)
    wanted = {"J12": "delete_passcode"}.get(house.cell.job, "set_passcode")
    return made if kind != "ttlock" else [effect for effect in made if effect["operation"] == wanted]


def a_person_looks(house: House, step: str) -> None:
    """What an authority was told in doubt is never told again by itself: staff look, and say what they saw."""
    failure, movement = house.cell.failure, "entry" if step == "sire" else "exit"
    failed = house.reach(step, "failed")
    assert failed["advice"]
    assert len(house.made("sire")) == (1 if failure in ("lost", "killed") else 0)
    if failure == "refused":
        assert SAID["sire"] in failed["reason"].lower()
        house.document = f"D{house.number:06}"
        house.act("guests", {"guests": [house.guest()]}, "PUT")
    else:
        assert "nobody knows" in failed["reason"].lower()
    house.act("sire/reported" if failure in ("lost", "killed") else "sire", {"movement": movement})
    house.reach(step)


def is_stored(house: House, job: Job) -> None:
    """What the API shows is what the providers have done."""
    until(lambda: {code["code"] for code in house.get()["doorCodes"]} == house.door(), 30, "the door's codes")
    data, messages = house.get(), house.messages()
    assert data["status"] == {"J2": "notification_sent", "J4": "notification_sent", "J12": "checked_out"}.get(
        house.cell.job, "checked_in"
    )
    made = [link["url"] for link in house.made("bold")]
    assert data["paymentLink"] == [*house.links, *made][-1]
    assert not [url for url in made[:-1] if url in json.dumps([data, messages])], "nobody sees an orphan"
    if "bold" in job.steps:
        assert all(made[-1] in json.dumps(message) for message in messages)
    if "ttlock" in job.steps:
        assert all(code in json.dumps(message) for message in messages for code in house.door())
    invited = house.cell.job == "J4" and bool(messages)
    # WhatsApp tells of the delivery while a killed worker's lease still runs; when it was sent is settled after that.
    until(lambda: bool(house.get()["invitationSentAt"]) == invited, 90, "the invitation's time")
    assert bool(data["sireRegisteredAt"]) == (house.cell.job in ("J7", "J12"))
    assert len({message["message_id"] for message in messages if house.by_mail}) <= 1
    if house.cell.job == "J2":
        mine = house.new_contact.removeprefix("+")
        assert {message["recipient"] for message in messages} <= {mine}, "nothing more goes to the old contact"


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.job == "J6"], ids=str)
def test_a_guest_who_wrote_is_answered_once_or_staff_are_asked(houses: dict[Cell, House], cell: Cell) -> None:
    house, wanted = houses[cell], "needs_staff" if cell.failure == "refused" else "answered"

    def message() -> dict[str, Any]:
        found = house.call("GET", f"/api/messages?reservationId={house.reservation}")
        assert len(found) <= 1
        return found[0] if found else {"state": ""}

    until(lambda: message()["state"] == wanted, 120, f"{cell}: {wanted}")
    if wanted == "answered":
        (sent,) = house.messages()
        assert message()["reply"] == sent["content"]["body"] == "La clave es 1234"
        assert len(house.timeline("guest.message_answered")) == 1
    else:
        assert house.messages() == []
        (failed,) = house.timeline("job.failed")
        assert SAID["whatsapp"] in failed["summary"]["reason"].lower()
    assert bool(house.timeline("job.retrying")) == (cell.failure in ("down", "lost"))


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.job == "J11"], ids=str)
def test_a_payment_is_shown_once_though_its_webhook_is_lost_and_bold_fails(
    houses: dict[Cell, House], cell: Cell
) -> None:
    house = houses[cell]
    until(lambda: house.get()["paymentStatus"] == "paid", 120, str(cell))
    assert house.get()["paidAmount"] == 180_000
    assert len(house.timeline("payment.settled")) == 1
    assert (len(house.ledger("bold")), house.made("bold")) == (1, [])


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.job == "J7 file"], ids=str)
def test_an_accepted_check_in_is_in_the_official_file_once(houses: dict[Cell, House], cell: Cell) -> None:
    house = houses[cell]
    row = waiting_row(house)
    made = house.call("POST", "/api/sire/files", {"day": row["day"]})
    assert made["rows"] == 1
    content = house.ask("GET", f"/api/sire/files/{made['number']}").text
    assert (content.count("\tE\t"), content.count(house.document)) == (1, 1)
    house.call("POST", f"/api/sire/files/{made['number']}/result", {"result": "accepted"})
    house.reach("sire")
    assert house.made("sire") == []


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.job == "J7 result"], ids=str)
def test_an_accepted_result_of_a_file_is_told_to_its_booking_once(houses: dict[Cell, House], cell: Cell) -> None:
    house = houses[cell]
    house.reach("sire")
    assert house.get()["sireRegisteredAt"]
    assert len(house.timeline("sire.registered")) == 1
    assert [made["result"] for made in house.call("GET", "/api/sire/files")] == ["accepted"]

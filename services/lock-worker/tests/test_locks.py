"""Codes at a sandboxed TTLock, on a real database: one per wish, whatever gets lost, and none after the end."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from starlette.applications import Starlette

from llegada.events.lock import PasscodeIssued, PasscodeRevoked
from llegada.events.organization import OrganizationConfigured
from llegada.events.reservation import ReservationCancelled, ReservationCheckedIn, ReservationPinRequested
from llegada.messaging.effects import Attempt, Found, NotWanted
from llegada.messaging.failures import (
    Credentials,
    Failure,
    NotYetKnown,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    SlotLater,
    TargetAway,
    Transient,
)
from llegada.messaging.transaction import Database
from llegada.runtime.http import ProviderClient
from llegada.testing.plugin import ServiceDatabase
from lock_worker import ttlock
from lock_worker.handlers import Locks
from lock_worker.passcodes import digits, window
from lock_worker.store import Store
from lock_worker.ttlock import Account, TTLock
from provider_sandbox.effects import Effects
from provider_sandbox.faults import Faults
from provider_sandbox.ttlock import TTLock as Sandbox

NOW = datetime.now(UTC).replace(microsecond=0)
STAY = {"room": "204", "starts_at": NOW, "ends_at": NOW + timedelta(days=2)}
DOOR = {"lock_id": 1, "name": "Front door", "gateway": "G1"}
ROOM = {"lock_id": 2, "name": "Room 204", "rooms": ["204"], "gateway": "G1"}
OFFLINE = {"lock_id": 3, "name": "Locker", "rooms": ["204"]}


class Wire(httpx.AsyncBaseTransport):
    """The sandbox without a network; `lose` answers of an operation that was done."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._inner = httpx.ASGITransport(Starlette(routes=sandbox.routes()))
        self.lose: list[str] = []
        self.refuse: dict[tuple[str, int], int] = {}
        """(operation, lock) → what TTLock says instead of doing it."""
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        operation = request.url.path.rsplit("/", 1)[1]
        form = dict(parse_qsl((await request.aread()).decode()))
        refused = self.refuse.get((operation, int(form.get("lockId", 0))))
        if refused is not None:
            return httpx.Response(200, json={"errcode": refused, "errmsg": "refused"})
        answer = await self._inner.handle_async_request(request)
        self.asked.append(operation)
        if operation in self.lose:
            self.lose.remove(operation)
            raise httpx.ReadTimeout("lost", request=request)
        return answer


class Place:
    """A worker, its database, and its locks."""

    def __init__(self, database: Database) -> None:
        self.effects = Effects()
        self.sandbox = Sandbox(self.effects, Faults(None))
        self.wire = Wire(self.sandbox)
        http = ProviderClient("ttlock", "https://ttlock.test", transport=self.wire)
        account = Account(client_id="c", client_secret=SecretStr("s"), username="u", password_md5=SecretStr("a" * 32))
        self.store = Store(database)
        self.database = database
        self.locks = Locks(self.store, TTLock(http, self.store, {1: account}))

    async def configure(self, *locks: dict[str, Any], revision: int = 1) -> None:
        known = {"organization_id": 1, "revision": revision, "name": "Hostal", "time_zone": "America/Bogota"}
        event = OrganizationConfigured.model_validate({**known, "locks": locks})
        async with self.database.transaction() as tx:
            await self.locks.remember_organization(event, tx)

    async def note(self, event: Any) -> None:
        async with self.database.transaction() as tx:
            await self.locks.note_stay(event, tx)

    async def issue(self, event: Any, number: int = 1) -> PasscodeIssued:
        effect = self.locks.issue_passcode(event)
        wanted = await effect.still_wanted()
        assert wanted is None, wanted
        return await effect.perform(attempt(number))

    async def revoke(self, event: Any) -> PasscodeRevoked:
        return await self.locks.revoke_passcode(event).perform(attempt(1))

    def at(self, lock: int) -> list[str]:
        return [code.digits for code in self.sandbox.keypads.codes.values() if code.lock_id == lock and code.at_door]

    def made(self) -> list[dict[str, Any]]:
        return self.effects.find({"operation": "set_passcode"})


def attempt(number: int) -> Attempt:
    return Attempt(number, f"r-{number}", NOW, tuple(f"r-{n}" for n in range(1, number)))


def event(cls: Any = ReservationCheckedIn, intent: int | None = 1, reservation: int = 17, **changes: Any) -> Any:
    known = {
        "organization_id": 1,
        "reservation_id": reservation,
        "guest_name": "Ana",
        "contact": {"phone": "+573001234567"},
        "amount": {"amount": 1000},
        "check_in_date": NOW.date(),
        "check_out_date": NOW.date() + timedelta(days=2),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test",
        "stay": STAY,
        "passcode_intent": intent,
        "check_in_confirmation_intent": 1,
        "pin_intent": 1,
        "checked_in_on": NOW.date(),
    }
    return cls.model_validate({**known, **changes})


def cancelled(reservation: int = 17) -> ReservationCancelled:
    known = {"organization_id": 1, "reservation_id": reservation, "property_name": "Hostal", "cancelled_at": NOW}
    return ReservationCancelled.model_validate({**known, "passcode_revoked_intent": 1})


@pytest_asyncio.fixture
async def place(service_database: ServiceDatabase) -> AsyncGenerator[Place]:
    made = Place(await service_database("lock_worker"))
    await made.configure(DOOR, ROOM)
    yield made


async def test_one_code_opens_every_lock_of_the_room(place: Place) -> None:
    issued = await place.issue(event())
    codes = {code.code for code in issued.passcodes}
    assert [code.lock_name for code in issued.passcodes] == ["Front door", "Room 204"]
    assert len(codes) == 1
    assert place.at(1) == place.at(2) == list(codes)
    assert all(effect["at_door"] for effect in place.made()), "without a gateway the door would stay shut"


async def test_a_guest_without_a_room_gets_everybodys_lock_only(place: Place) -> None:
    issued = await place.issue(event(stay={**STAY, "room": None}))
    assert [code.lock_name for code in issued.passcodes] == ["Front door"]


async def test_without_any_lock_nothing_is_made_up(place: Place) -> None:
    await place.configure(revision=2)
    with pytest.raises(Permanent, match="no lock") as refused:
        await place.issue(event())
    assert refused.value.advice
    assert place.made() == []


@pytest.mark.parametrize("lost", ["add", "get"])
async def test_a_lost_answer_makes_no_second_code(place: Place, lost: str) -> None:
    await place.configure(DOOR, OFFLINE, revision=2)
    place.wire.lose = [lost]
    with pytest.raises(OutcomeUnknown):
        await place.issue(event())
    again = place.locks.issue_passcode(event())
    found = await again.look_up(attempt(2))
    issued = found.event if isinstance(found, Found) else await again.perform(attempt(2))
    assert isinstance(issued, PasscodeIssued)
    assert sorted(effect["lock"] for effect in place.made()) == [1, 3]
    assert {code.code for code in issued.passcodes} == {*place.at(1), *place.at(3)}


async def test_a_new_code_replaces_the_old_one_at_the_lock(place: Place) -> None:
    first = await place.issue(event())
    second = await place.issue(event(ReservationPinRequested, 2))
    assert first.passcodes[0].code != second.passcodes[0].code
    assert place.at(1) == place.at(2) == [second.passcodes[0].code]
    refused = await place.locks.issue_passcode(event()).still_wanted()
    assert isinstance(refused, NotWanted)


async def test_after_the_end_only_what_was_set_is_deleted_and_nothing_is_set_any_more(place: Place) -> None:
    await place.issue(event())
    revoked = await place.revoke(cancelled())
    assert revoked.lock_names == ("Front door", "Room 204")
    assert place.at(1) == place.at(2) == []
    refused = await place.locks.issue_passcode(event(intent=2)).still_wanted()
    assert isinstance(refused, NotWanted)
    with pytest.raises(Transient):  # the end came between the question and the call
        await place.locks.issue_passcode(event(intent=2)).perform(attempt(1))
    assert place.at(1) == []
    assert (await place.revoke(cancelled())).lock_names == ()


async def test_the_end_waits_for_a_code_that_is_being_set_and_then_takes_it_away(place: Place) -> None:
    place.wire.lose = ["add"]
    with pytest.raises(OutcomeUnknown):
        await place.issue(event())
    with pytest.raises(NotYetKnown):
        await place.revoke(cancelled())
    await place.database.fetchrow("update passcodes set updated_at = now() - interval '1 hour'")
    assert (await place.revoke(cancelled())).lock_names == ("Front door",)
    assert place.at(1) == []


async def test_a_code_that_somebody_deleted_at_the_lock_is_gone(place: Place) -> None:
    await place.issue(event())
    place.sandbox.keypads.codes.clear()
    assert (await place.revoke(cancelled())).lock_names == ("Front door", "Room 204")


async def test_two_stays_of_the_same_hours_share_no_code_of_an_offline_lock(place: Place) -> None:
    await place.configure(OFFLINE, revision=2)
    one, two = await place.issue(event()), await place.issue(event(reservation=18))
    assert one.passcodes[0].code != two.passcodes[0].code
    assert two.passcodes[0].ends_at == one.passcodes[0].ends_at + timedelta(hours=1)


async def test_a_never_used_computed_code_cannot_be_deleted_and_is_left_to_ttlock(place: Place) -> None:
    await place.configure(OFFLINE, revision=2)
    await place.issue(event())
    await place.revoke(cancelled())
    row = await place.database.fetchrow("select state from passcodes")
    assert row is not None
    assert row["state"] == "left"


async def test_one_command_at_a_time_goes_through_a_gateway(place: Place) -> None:
    place.sandbox.configure({"gateways": {"1": "G1", "2": "G1"}, "gateway_seconds": 0.05})
    results = await asyncio.gather(*(place.issue(event(reservation=100 + n)) for n in range(4)), return_exceptions=True)
    assert {type(result) for result in results if not isinstance(result, PasscodeIssued)} <= {SlotLater}
    assert any(isinstance(result, PasscodeIssued) for result in results)
    for number in range(4):
        while True:
            try:
                await place.issue(event(reservation=100 + number), 2)
                break
            except SlotLater:
                await asyncio.sleep(0)
    assert len(place.at(1)) == len(set(place.at(1))) == 4


async def test_an_expired_token_is_renewed_once_by_whoever_comes_first(place: Place) -> None:
    await place.issue(event())
    place.sandbox._tokens.clear()
    place.wire.asked.clear()
    await place.issue(event(reservation=18))
    assert place.wire.asked.count("token") == 1
    place.sandbox._tokens.clear()
    place.sandbox._refresh.clear()
    place.wire.asked.clear()
    await place.issue(event(reservation=19))
    assert place.wire.asked.count("token") == 2, "the refresh token was refused, so the password"


async def test_the_code_stands_in_no_log_line_and_no_representation(
    place: Place, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    issued = await place.issue(event())
    await place.issue(event(ReservationPinRequested, 2))
    await place.revoke(cancelled())
    said = capsys.readouterr()
    rows = await place.store.planned(1, 17)
    everything = said.out + said.err + caplog.text + repr(rows) + repr(issued)
    for code in {row.code for row in rows}:
        assert code is not None
        assert code not in everything


@pytest.mark.parametrize(
    ("codes", "failure"),
    [
        (ttlock._TRANSIENT, Transient),
        (ttlock._AT_THE_LOCK, TargetAway),
        (ttlock._WAIT, RateLimited),
        (ttlock._CREDENTIALS, Credentials),
        (ttlock._PERMANENT, Permanent),
        ([-9999], Permanent),
    ],
)
def test_every_code_of_the_table_has_its_reaction(codes: Any, failure: type[Failure]) -> None:
    for code in codes:
        found = ttlock.failure_of(code)
        assert type(found) is failure
        assert found.code == str(code)
        assert found.advice or failure in (Transient, RateLimited)


def test_no_code_stands_in_two_tables() -> None:
    named = ttlock._TRANSIENT, ttlock._AT_THE_LOCK, ttlock._WAIT, ttlock._CREDENTIALS, ttlock._PERMANENT
    tables = [set(table) for table in named]
    assert sum(map(len, tables)) == len(set.union(*tables))


async def test_the_request_is_ttlocks_contract(place: Place) -> None:
    seen: list[httpx.Request] = []
    inner = place.wire.handle_async_request

    async def watch(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return await inner(request)

    place.wire.handle_async_request = watch  # type: ignore[method-assign]
    await place.issue(event(stay={**STAY, "room": None}))
    login, add = seen
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    form = {name: values[0] for name, values in parse_qs(add.content.decode()).items()}
    assert (form["addType"], form["keyboardPwdType"], form["keyboardPwdName"]) == ("2", "3", "RES-17-1")
    assert int(form["startDate"]) % 3_600_000 == 0
    assert abs(int(form["date"]) - datetime.now(UTC).timestamp() * 1000) < 60_000


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [("15:00", "11:00", 20), ("15:20", "11:00", 20), ("15:20", "11:01", 21), ("00:00", "00:00", 24)],
)
def test_a_window_has_whole_hours_and_covers_the_stay(start: str, end: str, hours: int) -> None:
    begins = datetime.fromisoformat(f"2026-12-01T{start}:00-05:00")
    ends = datetime.fromisoformat(f"2026-12-02T{end}:00-05:00")
    first, last = window(begins, ends)
    assert first <= begins
    assert last >= ends
    assert (last - first) == timedelta(hours=hours)


def test_chosen_digits_are_never_too_simple() -> None:
    for _ in range(2000):
        found = digits()
        assert len(found) == 6
        assert found[0] != "0"
        assert len(set(found)) > 2


async def test_a_later_attempt_to_set_a_code_is_seen_by_the_end_as_the_first_is(place: Place) -> None:
    place.wire.lose = ["add", "add"]
    with pytest.raises(OutcomeUnknown):
        await place.issue(event())
    await place.database.fetchrow("update passcodes set updated_at = now() - interval '1 hour'")
    with pytest.raises(OutcomeUnknown):
        await place.issue(event(), 2)
    with pytest.raises(NotYetKnown):
        await place.revoke(cancelled())


async def test_once_the_stay_has_ended_no_code_is_set_that_was_planned_before(place: Place) -> None:
    (row, *_) = await place.store.plan(1, 17, 1, await place.store.locks(1, "204"), (NOW, NOW + timedelta(days=2)))
    assert await place.store.begin(row)
    await place.store.end(1, 17, "the reservation was cancelled")
    assert not await place.store.begin(row)


GONE, NO_GATEWAY = -1003, -2012


async def test_an_older_code_at_a_lock_that_is_gone_keeps_nobody_from_the_new_one(place: Place) -> None:
    """The lock broke, another took its place, and the guest got a new code."""
    await place.issue(event())
    await place.configure(DOOR, {**ROOM, "lock_id": 9}, revision=2)
    place.wire.refuse = {("delete", 2): GONE}
    second = await place.issue(event(ReservationPinRequested, 2))
    assert [code.lock_name for code in second.passcodes] == ["Front door", "Room 204"]
    assert (await place.revoke(cancelled())).lock_names == ("Front door", "Room 204")


async def test_an_older_code_that_no_gateway_reaches_is_tried_again_and_then_the_new_one_is_told(place: Place) -> None:
    await place.issue(event())
    place.wire.refuse = {("delete", 2): NO_GATEWAY}
    for number in (1, 2):
        with pytest.raises(TargetAway):
            await place.issue(event(ReservationPinRequested, 2), number)
    assert len((await place.issue(event(ReservationPinRequested, 2), 3)).passcodes) == 2
    place.wire.refuse.clear()
    await place.revoke(cancelled())
    assert place.at(1) == place.at(2) == [], "the end of the stay took the older one away too"


async def test_one_locks_trouble_leaves_no_other_lock_open_after_the_end(place: Place) -> None:
    await place.issue(event())
    place.wire.refuse = {("delete", 1): NO_GATEWAY}
    with pytest.raises(TargetAway):
        await place.revoke(cancelled())
    assert place.at(2) == []
    place.wire.refuse.clear()
    await place.revoke(cancelled())
    assert place.at(1) == []


async def test_a_used_code_of_an_offline_lock_cannot_be_deleted_and_is_left_to_ttlock(place: Place) -> None:
    await place.configure(OFFLINE, revision=2)
    await place.issue(event())
    place.wire.refuse = {("delete", 3): NO_GATEWAY}
    assert (await place.revoke(cancelled())).lock_names == ("Locker",)
    row = await place.database.fetchrow("select state from passcodes")
    assert row is not None
    assert row["state"] == "left"

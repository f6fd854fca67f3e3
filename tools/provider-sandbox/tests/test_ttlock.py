"""TTLock as its clients meet it: forms, HTTP 200, and every rule that a door would insist on."""

import asyncio
import time
from typing import Any

import httpx
import pytest

HOUR = 3_600_000
START = 1_800_000_000_000 // HOUR * HOUR
LOGIN = {"clientId": "c", "clientSecret": "s", "username": "hostal", "password": "a" * 32}


class Door:
    """A client of TTLock, signed in. Each test uses a lock of its own: the sandbox forgets no code."""

    def __init__(self, http: httpx.AsyncClient, token: str, lock: int) -> None:
        self._http = http
        self.token = token
        self.lock = lock

    async def call(self, operation: str, **fields: Any) -> dict[str, Any]:
        known = {"clientId": "c", "accessToken": self.token, "date": int(time.time() * 1000), "lockId": self.lock}
        path = "lock/listKeyboardPwd" if operation == "list" else f"keyboardPwd/{operation}"
        answer = await self._http.post(f"/ttlock/v3/{path}", data={**known, **fields})
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    async def add(self, code: str = "482915", **fields: Any) -> dict[str, Any]:
        known = {"keyboardPwd": code, "keyboardPwdName": "RES-1-1", "startDate": START, "endDate": START + HOUR}
        return await self.call("add", **{**known, "addType": 2, **fields})

    async def get(self, start: int = START, end: int = START + 2 * HOUR) -> dict[str, Any]:
        return await self.call("get", keyboardPwdName="RES-1-1", startDate=start, endDate=end)


async def sign_in(client: Any, **changes: str) -> dict[str, Any]:
    answer = await client.http.post("/ttlock/oauth2/token", data={**LOGIN, **changes})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
async def door(client: Any, request: pytest.FixtureRequest) -> Door:
    granted = await sign_in(client)
    return Door(client.http, granted["access_token"], abs(hash(request.node.nodeid)) % 10**9 + 1)


async def test_a_refresh_replaces_the_old_tokens(client: Any, door: Door) -> None:
    first = await sign_in(client)
    second = await sign_in(client, grant_type="refresh_token", refresh_token=first["refresh_token"])
    door.token = first["access_token"]
    assert (await door.add())["errcode"] == 10004
    door.token = second["access_token"]
    assert "keyboardPwdId" in await door.add()
    again = await sign_in(client, grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert again["errcode"] == 10011


@pytest.mark.parametrize(
    ("changes", "code"), [({"password": "plain"}, 10007), ({"clientId": ""}, 10001), ({"username": ""}, 10007)]
)
async def test_a_wrong_login_is_an_errcode(client: Any, changes: dict[str, str], code: int) -> None:
    assert (await sign_in(client, **changes))["errcode"] == code


async def test_a_clock_that_is_six_minutes_off_is_refused(door: Door) -> None:
    assert (await door.add(date=int(time.time() * 1000) - 360_000))["errcode"] == 80000


async def test_a_computed_code_has_whole_hours_and_one_per_window(client: Any, door: Door) -> None:
    first = await door.get(START + 1000, START + 2 * HOUR + 1000)
    assert await door.get() == first
    (made,) = [e for e in await client.effects(operation="set_passcode") if e["lock"] == door.lock]
    assert (made["start"], made["end"]) == (START, START + 2 * HOUR)
    assert (await door.call("delete", keyboardPwdId=first["keyboardPwdId"]))["errcode"] == -3008


@pytest.mark.parametrize(
    ("code", "errcode"),
    [("123", -3006), ("1234567890", -3006), ("abc123", -3006), ("111111", -2032), ("123456", -2032)],
)
async def test_a_code_that_a_keypad_would_refuse_is_refused(door: Door, code: str, errcode: int) -> None:
    assert (await door.add(code))["errcode"] == errcode


async def test_the_same_code_twice_is_refused_and_a_deleted_one_is_gone(door: Door) -> None:
    made = await door.add()
    assert (await door.add())["errcode"] == -3007
    listed = await door.call("list", searchStr="RES-1-1", pageNo=1, pageSize=20)
    assert [code["keyboardPwd"] for code in listed["list"]] == ["482915"]
    assert (await door.call("delete", keyboardPwdId=made["keyboardPwdId"]))["errcode"] == 0
    assert (await door.call("delete", keyboardPwdId=made["keyboardPwdId"]))["errcode"] == -2009


async def test_without_a_gateway_the_door_stays_shut(client: Any, door: Door) -> None:
    await door.add(addType=1)
    (made,) = [e for e in await client.effects(operation="set_passcode") if e["lock"] == door.lock]
    assert made["at_door"] is False


async def test_a_gateway_takes_one_command_at_a_time(client: Any, door: Door) -> None:
    changed = await client.http.patch("/_sandbox/settings/ttlock", json={"gateway_seconds": 0.3})
    assert changed.status_code == 200
    answers = await asyncio.gather(door.add("482915"), door.add("482916"))
    assert sorted(answer.get("errcode", 0) for answer in answers) == [-3003, 0]

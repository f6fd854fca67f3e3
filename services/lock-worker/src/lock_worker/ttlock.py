"""TTLock's cloud API: a client, and one table from its codes to what happens then.

Source: euopen.ttlock.com (Cloud API: errorCode, oauth2, passcode, keyboardPwd). Errors come with HTTP 200.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr

from llegada.messaging.failures import (
    Credentials,
    Failure,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    TargetAway,
    Transient,
)
from llegada.messaging.gate import Limit, Way
from llegada.runtime.http import ProviderClient, retry_after
from lock_worker.store import Store, Token

ALREADY_GONE, NEVER_USED, SAME_CODE, WINDOW_USED = "-2009", "-3008", "-3007", "-1026"
NO_LOCK = "-1003"
NO_WAY = frozenset({"-2012", "-4037"})
"""No gateway reaches the lock."""
_NO_TOKEN = frozenset({10003, 10004})
_BAD_REFRESH = frozenset({10003, 10004, 10011})
_BY_GATEWAY = "2"
_PERIOD = "3"
_SPARE = timedelta(hours=1)
"""A token that ends sooner is renewed."""

_TRANSIENT: dict[int, str] = {
    90000: "TTLock had an internal error",
    80000: "TTLock's clock and ours differ",
}
_AT_THE_LOCK: dict[int, str] = {
    -3002: "the gateway is offline",
    -2012: "no gateway is near the lock",
    -3035: "the lock saves power",
    -3036: "the lock's Wi-Fi is offline",
}
# Code → how long to wait at least; no attempt is used up.
_WAIT: dict[int, tuple[timedelta, str]] = {
    30006: (timedelta(seconds=30), "TTLock takes no more calls for the moment"),
    -3003: (timedelta(seconds=2), "the gateway is busy"),
    -3037: (timedelta(seconds=2), "the lock is busy"),
}
_ACCOUNT = "Check the organization's TTLock account, its rights on the lock, and the region of the address."
_CREDENTIALS: dict[int, str] = {
    10000: "TTLock does not know the application",
    10001: "TTLock does not know the application",
    10003: "TTLock does not accept the token",
    10004: "TTLock does not accept the token",
    10007: "TTLock does not accept user name or password",
    10011: "TTLock does not accept the refresh token",
    20002: "the account is not the lock's administrator",
    30002: "TTLock refuses the account",
    30003: "TTLock refuses the account",
    30004: "TTLock refuses the account",
    30005: "TTLock refuses the account",
    30007: "the account's calls of this month are used up",
    30008: "the account belongs to another region",
    -2018: "the account may not do this at the lock",
    -2025: "the lock is frozen",
    -3034: "the lock's Wi-Fi is not configured",
    -4037: "the lock has no gateway",
}
_LOCK = "Check the lock in the organization's settings; give the guest a code at the lock meanwhile."
_FULL = "Delete old codes at the lock, and ask for the code again."
_PERMANENT: dict[int, tuple[str, str]] = {
    1: ("TTLock refused the request", _LOCK),
    -3: ("TTLock refused a parameter", _LOCK),
    80002: ("TTLock could not read the request", _LOCK),
    -1003: ("TTLock does not know the lock", _LOCK),
    -1007: ("the lock has no data for passcodes", _LOCK),
    -1026: ("a code of this period was used and deleted before", _LOCK),
    -2009: ("the code is not at the lock", _LOCK),
    -2032: ("the code is too simple", _LOCK),
    -3006: ("the code has the wrong length", _LOCK),
    -3007: ("the lock has this code already", _LOCK),
    -3008: ("a computed code that was never used cannot be deleted", _LOCK),
    -4043: ("the lock cannot do this", _LOCK),
    -3009: ("the lock is full", _FULL),
    -4056: ("the lock is full", _FULL),
}


class Account(BaseModel):
    """`username`: the account of the TTLock app; `password_md5`: its password's MD5, 32 lower-case hex digits."""

    client_id: str
    client_secret: SecretStr
    username: str
    password_md5: SecretStr


@dataclass(frozen=True)
class Known:
    """A code as the lock's list has it."""

    passcode_id: int
    code: str


class TTLock:
    """`accounts`: organization → account; `per_second`: calls of one account, 0: no limit of our own."""

    def __init__(
        self, http: ProviderClient, store: Store, accounts: Mapping[int, Account], per_second: float = 0
    ) -> None:
        self._http = http
        self._store = store
        self._accounts = accounts
        self._per_second = per_second

    def way(self, organization_id: int) -> Way:
        account = str(organization_id)
        return Way("ttlock", account, [Limit(f"ttlock/{account}", self._per_second)] if self._per_second else [])

    async def add(
        self, organization_id: int, lock_id: int, name: str, code: str, period: tuple[datetime, datetime]
    ) -> int:
        """Set a code of ours through the gateway (`addType` 2: without it only the cloud would know); its id."""
        fields = {"keyboardPwd": code, "keyboardPwdType": _PERIOD, "addType": _BY_GATEWAY, **_named(name, period)}
        answer = await self._call(organization_id, "add", "/v3/keyboardPwd/add", lock_id, fields)
        return int(_needed(answer, "keyboardPwdId"))

    async def get(self, organization_id: int, lock_id: int, name: str, period: tuple[datetime, datetime]) -> Known:
        """The code that cloud and lock compute for a period; no gateway is needed."""
        fields = {"keyboardPwdType": _PERIOD, "keyboardPwdVersion": "4", **_named(name, period)}
        answer = await self._call(organization_id, "get", "/v3/keyboardPwd/get", lock_id, fields)
        return Known(int(_needed(answer, "keyboardPwdId")), str(_needed(answer, "keyboardPwd")))

    async def delete(self, organization_id: int, lock_id: int, passcode_id: int) -> None:
        """Raises Permanent with code ALREADY_GONE or NEVER_USED where there is nothing to delete, or no way to."""
        fields = {"keyboardPwdId": str(passcode_id), "deleteType": _BY_GATEWAY}
        await self._call(organization_id, "delete", "/v3/keyboardPwd/delete", lock_id, fields)

    async def find(self, organization_id: int, lock_id: int, name: str) -> Known | None:
        """The code of this name at the lock, if there is one."""
        fields = {"pageNo": "1", "pageSize": "200", "orderBy": "1", "searchStr": name}
        answer = await self._call(organization_id, "list", "/v3/lock/listKeyboardPwd", lock_id, fields, reads=True)
        for entry in answer.get("list") or []:
            if entry.get("keyboardPwdName") == name:
                return Known(int(entry["keyboardPwdId"]), str(entry["keyboardPwd"]))
        return None

    async def _call(
        self,
        organization_id: int,
        operation: str,
        path: str,
        lock_id: int,
        fields: dict[str, str],
        *,
        reads: bool = False,
    ) -> dict[str, Any]:
        account = self._account(organization_id)
        token = await self._token(organization_id, account)
        for again in (True, False):
            known = {"clientId": account.client_id, "accessToken": token.access_token, "date": _now()}
            answer = await self._post(operation, path, {**known, "lockId": str(lock_id), **fields}, reads=reads)
            code = answer.get("errcode", 0)
            if code in _NO_TOKEN and again:
                token = await self._renewed(organization_id, account, token)
                continue
            if code:
                raise failure_of(int(code))
            return answer
        raise AssertionError("the second round returns or raises")

    async def _token(self, organization_id: int, account: Account) -> Token:
        token = await self._store.token(organization_id)
        if token is not None and token.expires_at > datetime.now(UTC) + _SPARE:
            return token
        return await self._renewed(organization_id, account, token)

    async def _renewed(self, organization_id: int, account: Account, old: Token | None) -> Token:
        """One replica renews; a refresh replaces the old token, so whoever comes meanwhile waits and reads."""
        async with self._store.lease(f"token/{organization_id}"):
            token = await self._store.token(organization_id)
            if token is not None and token != old:
                return token
            client = {"clientId": account.client_id, "clientSecret": account.client_secret.get_secret_value()}
            answer: dict[str, Any] = {"errcode": 10011}
            if old is not None:
                refresh = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
                answer = await self._post("token", "/oauth2/token", {**client, **refresh}, reads=True)
            if answer.get("errcode", 0) in _BAD_REFRESH:
                password = {"username": account.username, "password": account.password_md5.get_secret_value()}
                answer = await self._post("token", "/oauth2/token", {**client, **password}, reads=True)
            if answer.get("errcode", 0):
                raise failure_of(int(answer["errcode"]))
            lives = timedelta(seconds=int(_needed(answer, "expires_in")))
            access, refreshing = str(_needed(answer, "access_token")), str(_needed(answer, "refresh_token"))
            made = Token(access, refreshing, datetime.now(UTC) + lives)
            await self._store.keep_token(organization_id, made)
            return made

    async def _post(self, operation: str, path: str, form: dict[str, str], *, reads: bool) -> dict[str, Any]:
        try:
            response = await self._http.request(operation, "POST", path, headers={}, form=form)
        except OutcomeUnknown as failure:
            if reads:  # nothing was changed, whatever became of the request
                raise Transient(failure.reason, code=failure.code) from failure
            raise
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise RateLimited("TTLock takes no more calls", retry_after=retry_after(response, _WAIT[30006][0]))
        try:
            answer = response.json() if response.is_success else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            words = f"TTLock answered {response.status_code} without saying what it did"
            raise (Transient if reads else OutcomeUnknown)(words, code=str(response.status_code))
        return answer

    def _account(self, organization_id: int) -> Account:
        account = self._accounts.get(organization_id)
        if account is None:
            raise Credentials(
                f"organization {organization_id} has no TTLock account", code="no account", advice=_ACCOUNT
            )
        return account


def failure_of(code: int) -> Failure:
    """The failure that an `errcode` stands for."""
    if code in _TRANSIENT:
        return Transient(_TRANSIENT[code], code=str(code))
    if code in _AT_THE_LOCK:
        return TargetAway(_AT_THE_LOCK[code], code=str(code), advice=_LOCK)
    if code in _WAIT:
        wait, words = _WAIT[code]
        return RateLimited(words, retry_after=wait, code=str(code))
    if code in _CREDENTIALS:
        return Credentials(_CREDENTIALS[code], code=str(code), advice=_ACCOUNT)
    words, advice = _PERMANENT.get(code, (f"TTLock answered {code}, which nobody expected", _LOCK))
    return Permanent(words, code=str(code), advice=advice)


def _named(name: str, period: tuple[datetime, datetime]) -> dict[str, str]:
    start, end = (str(int(at.timestamp() * 1000)) for at in period)
    return {"keyboardPwdName": name, "startDate": start, "endDate": end}


def _needed(answer: dict[str, Any], field: str) -> Any:
    if field not in answer:
        raise OutcomeUnknown(f"TTLock's answer holds no {field}", code="shape")
    return answer[field]


def _now() -> str:
    return str(int(time.time() * 1000))

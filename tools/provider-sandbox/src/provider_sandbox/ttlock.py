"""TTLock's cloud, as a client meets it (euopen.ttlock.com): forms in, HTTP 200 out, errors as `errcode`.

What is not documented and had to be chosen: a repeated `get` of one window gives the same code, since it is computed.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.accounts import Accounts
from provider_sandbox.effects import Effects
from provider_sandbox.exchange import Exchanges
from provider_sandbox.faults import Faults
from provider_sandbox.ttlock_codes import Code, Keypads, Refusal

_CLOCK = 300_000
"""How far `date` may be from the server's clock, milliseconds."""
Form = dict[str, str]


class TTLockSettings(BaseModel):
    """`token_seconds`: how long an access token lives. `gateways`: lock id → gateway; others have one each."""

    model_config = ConfigDict(extra="forbid")

    token_seconds: float = 7_776_000
    gateways: dict[int, str] = {}
    gateway_seconds: float = 0.0
    """How long a gateway is busy with one command: a second one meanwhile is refused (-3003)."""


class TTLock:
    """The user's name at TTLock is the account."""

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self.exchanges = Exchanges("ttlock", faults, _ordered_error)
        self.settings = TTLockSettings()
        self.accounts = Accounts()
        self.keypads = Keypads()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._refresh: dict[str, str] = {}
        self._busy: dict[str, float] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/oauth2/token", self.token, methods=["POST"]),
            Route("/v3/keyboardPwd/get", self._command("get", self._get), methods=["POST"]),
            Route("/v3/keyboardPwd/add", self._command("add", self._add), methods=["POST"]),
            Route("/v3/keyboardPwd/delete", self._command("delete", self._delete), methods=["POST"]),
            Route("/v3/lock/listKeyboardPwd", self._command("list", self._list), methods=["POST"]),
        ]

    async def token(self, request: Request) -> Response:
        """By password (32 hex digits of its MD5) or refresh token; a refresh replaces the old tokens."""

        def answer(body: bytes) -> Response:
            form = _form(body)
            if not form.get("clientId") or not form.get("clientSecret"):
                return error(10001, "invalid client")
            if form.get("grant_type") == "refresh_token":
                user = self._refresh.pop(form.get("refresh_token", ""), None)
                return error(10011, "invalid refresh_token") if user is None else self._granted(user)
            user = form.get("username", "")
            if not self.accounts.allow(user) or len(form.get("password", "")) != 32:  # noqa: PLR2004 - MD5 in hex
                return error(10007, "invalid account or password")
            return self._granted(user)

        return await self.exchanges.run(request, "token", "", answer)

    def configure(self, changes: dict[str, Any]) -> None:
        """Change some settings; raises pydantic's ValidationError."""
        self.settings = TTLockSettings.model_validate({**self.settings.model_dump(), **changes})

    def reset(self) -> None:
        self.settings, self.accounts = TTLockSettings(), Accounts()

    def _granted(self, user: str) -> Response:
        for token in [token for token, (owner, _) in self._tokens.items() if owner == user]:
            del self._tokens[token]
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self._tokens[access] = user, time.monotonic() + self.settings.token_seconds
        self._refresh[refresh] = user
        seconds = int(self.settings.token_seconds)
        return JSONResponse({"access_token": access, "uid": 2340, "refresh_token": refresh, "expires_in": seconds})

    def _command(self, operation: str, work: Callable[[str, Form], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            form = _form(await request.body())
            user, expires = self._tokens.get(form.get("accessToken", ""), ("", 0.0))

            def answer(_body: bytes) -> Response:
                if not user or expires < time.monotonic():
                    return error(10004, "invalid or expired access_token")
                date = form.get("date", "")
                if not date.isdigit() or abs(int(date) - time.time() * 1000) > _CLOCK:
                    return error(80000, "date must be current time, in 5 minutes")
                if not form.get("lockId", "").isdigit():
                    return error(-3, "invalid parameter lockId")
                return work(user, form)

            by_gateway = operation == "delete" or form.get("addType") == "2"
            gateway = self.settings.gateways.get(int(form.get("lockId") or 0), form.get("lockId", ""))
            if not by_gateway:
                return await self.exchanges.run(request, operation, user, answer)
            if self._busy.get(gateway, 0) > time.monotonic():
                return error(-3003, "the gateway is busy")
            self._busy[gateway] = time.monotonic() + 60
            try:
                await asyncio.sleep(self.settings.gateway_seconds)
                return await self.exchanges.run(request, operation, user, answer)
            finally:
                del self._busy[gateway]

        return endpoint

    def _get(self, user: str, form: Form) -> Response:
        before = set(self.keypads.codes)
        made = self.keypads.computed(
            int(form["lockId"]), form.get("keyboardPwdName", ""), int(form["startDate"]), int(form["endDate"])
        )
        if isinstance(made, Code) and made.id not in before:
            self._made(user, made)
        return _refused(made) or JSONResponse({"keyboardPwd": made.digits, "keyboardPwdId": made.id})  # type: ignore[union-attr]

    def _add(self, user: str, form: Form) -> Response:
        lock, start, end = (int(form[name]) for name in ("lockId", "startDate", "endDate"))
        name, digits = form.get("keyboardPwdName", ""), form.get("keyboardPwd", "")
        made = self.keypads.chosen(lock, name, digits, start, end, int(form.get("addType", 1)))
        if isinstance(made, Code):
            self._made(user, made)
        return _refused(made) or JSONResponse({"keyboardPwdId": made.id})  # type: ignore[union-attr]

    def _delete(self, user: str, form: Form) -> Response:
        gone = self.keypads.delete(int(form["lockId"]), int(form.get("keyboardPwdId", 0)))
        if isinstance(gone, Code):
            self._effects.made(
                "ttlock",
                "delete_passcode",
                user,
                recipient=None,
                reference=gone.name,
                id=str(gone.id),
                lock=gone.lock_id,
            )
        return _refused(gone) or JSONResponse({"errcode": 0, "errmsg": "none error message"})

    def _list(self, _user: str, form: Form) -> Response:
        found = self.keypads.of(int(form["lockId"]), form.get("searchStr", ""))
        number, size = int(form.get("pageNo", 1)), min(int(form.get("pageSize", 20)), 200)
        shown = [code.shown() for code in found[(number - 1) * size : number * size]]
        pages = -(-len(found) // size)
        return JSONResponse({"list": shown, "pageNo": number, "pageSize": size, "pages": pages, "total": len(found)})

    def _made(self, user: str, code: Code) -> None:
        self._effects.made(
            "ttlock", "set_passcode", user, recipient=None, reference=code.name, id=str(code.id), lock=code.lock_id,
            code=code.digits, start=code.start, end=code.end, at_door=code.at_door,
        )  # fmt: skip


def error(code: int, message: str) -> Response:
    """TTLock's errors are HTTP 200."""
    return JSONResponse({"errcode": code, "errmsg": message, "description": message})


def _refused(made: Code | Refusal) -> Response | None:
    return error(*made) if isinstance(made, tuple) else None


def _form(body: bytes) -> Form:
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _ordered_error(value: Any) -> Response:
    """What a fault asks for: an errcode."""
    return error(value if isinstance(value, int) else 90000, "ordered by the sandbox")

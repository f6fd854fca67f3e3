"""One HTTP exchange with a provider: latency, faults and lost answers around the provider's own contract."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from provider_sandbox.faults import HOLD_SECONDS, FaultRequest, Faults

_ABORT = "provider_sandbox.abort"
"""Key in the ASGI scope: a function that aborts the client's connection."""


class Cuttable:
    """Lets the application inside cut the client's connection.

    ASGI has no word for that: a server answers even an exception with a 500, and a client must see the connection die.
    uvicorn's `send` is a bound method of its request cycle, which knows the transport; on the outside of Starlette,
    before any middleware wraps it, that transport is in reach.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_ABORT] = cast("Any", send).__self__.transport.abort
        await self._app(scope, receive, send)


class ConnectionCut(Response):
    """No answer: the client sees its connection cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        scope[_ABORT]()
        # Returning before uvicorn has noticed would be "no response" to it, which it logs and answers with a 500.
        while (await receive())["type"] != "http.disconnect":
            pass


class Exchanges:
    """Runs the answers of one provider. An effect is made only inside `answer`, which never waits."""

    def __init__(self, provider: str, faults: Faults, provider_error: Callable[[Any], Response]) -> None:
        self._provider = provider
        self._faults = faults
        self._provider_error = provider_error
        self.in_flight = 0
        """Requests that may still make an effect."""

    async def run(
        self, request: Request, operation: str, account: str, answer: Callable[[bytes], Response]
    ) -> Response:
        """Run `answer` with the request's body, behind the faults that this request meets."""
        try:
            body = await request.body()
        except ClientDisconnect:
            return ConnectionCut()
        fault = self._faults.take(self._provider, operation, account)
        if fault is not None and fault.kind == "down":
            return ConnectionCut()
        self.in_flight += 1
        try:
            await self._faults.delay(self._provider, operation, account)
            made = answer(body) if fault is None or _after_effect(fault) else None
        finally:
            self.in_flight -= 1
        return made if fault is None and made is not None else await self._faulty(fault, request)

    async def _faulty(self, fault: FaultRequest | None, request: Request) -> Response:
        assert fault is not None
        match fault.kind:
            case "status":
                return _gateway(fault.value)
            case "provider_error":
                return self._provider_error(fault.value)
            case "timeout":
                await _until_gone(request)
        return ConnectionCut()


def _after_effect(fault: FaultRequest) -> bool:
    return fault.kind == "answer_lost" or (fault.kind == "timeout" and fault.value == "after_effect")


def _gateway(value: Any) -> Response:
    """What stands between client and provider speaks: no body of the provider's own."""
    known = value if isinstance(value, dict) else {"status": value}
    wait = known.get("retry_after")
    headers = {} if wait is None else {"retry-after": str(wait)}
    page = f"<html><head><title>{known['status']}</title></head><body>gateway</body></html>"
    return HTMLResponse(page, status_code=known["status"], headers=headers)


async def _until_gone(request: Request) -> None:
    try:
        async with asyncio.timeout(HOLD_SECONDS):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return

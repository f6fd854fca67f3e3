"""What every HTTP provider of the sandbox does around its own contract: latency, faults, and lost answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from provider_sandbox.faults import HOLD_SECONDS, FaultRequest, Faults

Answer = Callable[[], Awaitable[Response]]
ErrorBody = Callable[[Any], Response]


CUT = "provider_sandbox.cut"
"""Key in the ASGI scope: a function that aborts the client's connection (put there by the app)."""


class ConnectionCut(Response):
    """No answer: the client sees its connection cut."""

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        scope[CUT]()


async def serve(
    faults: Faults, request: Request, provider: str, operation: str, account: str, answer: Answer, error_body: ErrorBody
) -> Response:
    """Run `answer` behind the faults that this request meets. An effect is made only inside `answer`."""
    fault = faults.take(provider, operation, account)
    if fault is not None and fault.kind == "down":
        return ConnectionCut()
    await faults.delay(provider, operation, account)
    if fault is None:
        return await answer()
    return await _faulty(fault, request, answer, error_body)


async def _faulty(fault: FaultRequest, request: Request, answer: Answer, error_body: ErrorBody) -> Response:
    match fault.kind:
        case "status":
            return HTMLResponse("<html><body>gateway</body></html>", status_code=fault.value)
        case "provider_error":
            return error_body(fault.value)
        case "timeout":
            await _until_gone(request)
            return ConnectionCut()
        case "answer_lost":
            await answer()
            return ConnectionCut()
        case _:
            return ConnectionCut()


async def _until_gone(request: Request) -> None:
    try:
        async with asyncio.timeout(HOLD_SECONDS):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return

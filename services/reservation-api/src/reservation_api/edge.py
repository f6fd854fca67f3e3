"""The edge of the app, in plain ASGI: request id, bounded body, content type, and the last resort for errors."""

import re
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reservation_api.problems import TooLarge, WrongType, of_error

MOST_BYTES = 64 * 1024
MOST_WEBHOOK_BYTES = 3 * 1024 * 1024
"""Meta sends up to a thousand updates at once, up to 3 MB."""
MOST_IMPORT_BYTES = 1024 * 1024
"""Two thousand work times at once."""
_SANE_ID = re.compile(r"^[A-Za-z0-9._:-]{1,100}$")
REQUEST_ID = "request_id"
"""Key in the ASGI scope's state: the correlation id of everything that this request causes."""


def request_id(request: Request) -> str:
    """The correlation id of this request, and of everything that it causes."""
    found: str = request.scope["state"][REQUEST_ID]
    return found


class Edge:
    """Refuses before anything is read or stored; puts `X-Request-ID` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _SANE_ID.match(given) else str(uuid4())
        scope.setdefault("state", {})[REQUEST_ID] = request_id
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            most = _most(scope["path"])
            _check(scope["method"], headers, most)
            await self._app(scope, _bounded(receive, most), answer)
        except Exception as error:  # noqa: BLE001 - the last resort: every error is answered, and logged there
            if started:  # Starlette answers an unforeseen error itself before it lets it out (problems.py)
                return
            await of_error(scope["path"], error)(scope, receive, answer)


def _most(path: str) -> int:
    if path.startswith("/api/webhooks/"):
        return MOST_WEBHOOK_BYTES
    return MOST_IMPORT_BYTES if path == "/api/work-times" else MOST_BYTES


def _check(method: str, headers: dict[bytes, bytes], most: int) -> None:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > most:
        raise TooLarge(f"the body may have {most} bytes at most, not {int(length)}")
    content_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if method in ("POST", "PUT", "PATCH") and content_type not in (b"application/json", b""):
        raise WrongType(f"send application/json instead of {content_type.decode('latin-1')}")


def _bounded(receive: Receive, most: int) -> Receive:
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            # FastAPI turns other errors of reading into a 400.
            raise HTTPException(413, f"the body may have {most} bytes at most")
        return message

    return bounded

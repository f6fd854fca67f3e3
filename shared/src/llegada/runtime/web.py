"""What every process answers over HTTP: health and metrics, around the service's own app if it has one."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llegada.messaging import tracing
from llegada.runtime.metrics import HTTP_SECONDS

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Everything else is one label value: a client may send any word."""


@dataclass(frozen=True)
class Health:
    """`checks`: name → whether it holds; `ready`: whether requests or deliveries may come."""

    ready: bool
    checks: dict[str, bool]


class ProcessApp:
    """`/health/live`, `/health/ready`, `/metrics`; everything else goes to the service's app, and is measured.

    Live means that the event loop turns and the watchdog is content: 503 asks for a restart. Ready means that what the
    process needs for its work answers: 503 otherwise.
    """

    def __init__(
        self,
        service: str,
        health: Callable[[], Awaitable[Health]],
        alive: Callable[[], bool],
        app: ASGIApp | None,
    ) -> None:
        self._service = service
        self._alive = alive
        self._health = health
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if self._app is not None:
                await self._app(scope, receive, send)
            return
        match scope["path"]:
            case "/health/live":
                alive = self._alive()
                body = {"status": "live" if alive else "stopped silently", "service": self._service}
                await _json(send, 200 if alive else 503, body)
            case "/health/ready":
                health = await self._health()
                status = "ready" if health.ready else "not ready"
                answer = {"status": status, "service": self._service, "checks": health.checks}
                await _json(send, 200 if health.ready else 503, answer)
            case "/metrics":
                await _answer(send, 200, CONTENT_TYPE_LATEST, generate_latest())
            case _ if self._app is None:
                await _json(send, 404, {"status": "not found", "service": self._service})
            case _ if tracing.active is None:
                await self._measured(scope, receive, send)
            case _:
                with tracing.active.request(scope) as traced:
                    await self._measured(traced, receive, send)

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None  # the caller has looked
        started, status, endless = time.monotonic(), 500, False

        async def watch(message: Message) -> None:
            nonlocal status, endless
            if message["type"] == "http.response.start":
                status = message["status"]
                endless = any(value.startswith(b"text/event-stream") for _, value in message.get("headers", []))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            labels = (self._service, method, route, str(status))
            tracing.note(status=status)
            if not endless:  # how long somebody listens says nothing about how fast we are
                HTTP_SECONDS.labels(*labels).observe(time.monotonic() - started)


async def _json(send: Send, status: int, body: dict[str, Any]) -> None:
    await _answer(send, status, "application/json", json.dumps(body).encode())


async def _answer(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

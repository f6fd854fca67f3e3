"""The sandbox's process: the providers under a path each, SMTP on its own port, and the control API."""

import argparse
import asyncio
import contextlib
import logging
from typing import Any, cast

import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from provider_sandbox import smtp
from provider_sandbox.bold import Bold
from provider_sandbox.effects import Effects
from provider_sandbox.faults import FaultRequest, Faults
from provider_sandbox.provider import CUT
from provider_sandbox.webhooks import fire
from provider_sandbox.whatsapp import WhatsApp


class Sandbox:
    """All providers and the control API. `latency`: seconds that every provider takes (number or distribution)."""

    def __init__(self, latency: Any = None) -> None:
        self.effects = Effects()
        self.faults = Faults(latency)
        self.bold = Bold(self.effects, self.faults)
        self.whatsapp = WhatsApp(self.effects, self.faults)
        self.mailbox = smtp.Mailbox(self.effects, self.faults)
        routes = [
            Mount("/bold", routes=self.bold.routes()),
            Mount("/whatsapp", routes=self.whatsapp.routes()),
            Route("/_sandbox/health", self._health),
            Route("/_sandbox/effects", self._effects, methods=["GET", "DELETE"]),
            Route("/_sandbox/faults", self._faults, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/faults/{number:int}", self._fault, methods=["DELETE"]),
            Route("/_sandbox/windows", self._window, methods=["POST"]),
            Route("/_sandbox/accounts", self._account, methods=["POST"]),
            Route("/_sandbox/webhooks", self._webhook, methods=["POST"]),
        ]
        self.app: ASGIApp = _Cutting(Starlette(routes=routes))

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _effects(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.effects.clear()
            return Response(status_code=204)
        return JSONResponse(self.effects.find(dict(request.query_params)))

    async def _faults(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(self.faults.shown())
        if request.method == "DELETE":
            self.faults.clear()
            return Response(status_code=204)
        try:
            wanted = FaultRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return _problem([f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)])
        return JSONResponse({"id": self.faults.add(wanted)}, status_code=201)

    async def _fault(self, request: Request) -> Response:
        found = self.faults.remove(request.path_params["number"])
        return Response(status_code=204) if found else _problem(["no such fault"], 404)

    async def _window(self, request: Request) -> Response:
        body = await request.json()
        if not {"phone_number_id", "wa_id"} <= set(body):
            return _problem(["needs phone_number_id and wa_id"])
        self.whatsapp.open_window(str(body["phone_number_id"]), str(body["wa_id"]).removeprefix("+"))
        return Response(status_code=204)

    async def _account(self, request: Request) -> Response:
        """`{"provider": "bold"|"whatsapp", "refused": ["key"]}`: these keys or tokens are not taken any more."""
        body = await request.json()
        providers: dict[str, Bold | WhatsApp] = {"bold": self.bold, "whatsapp": self.whatsapp}
        provider = providers.get(body.get("provider"))
        if provider is None or not isinstance(body.get("refused"), list):
            return _problem(["needs provider (bold, whatsapp) and refused (a list of keys or tokens)"])
        provider.refused = set(body["refused"])
        return Response(status_code=204)

    async def _webhook(self, request: Request) -> Response:
        try:
            return JSONResponse(await fire(await request.json()))
        except (KeyError, ValueError) as error:
            return _problem([f"{type(error).__name__}: {error}"])


class _Cutting:
    """Closes the client's connection where a fault asks for it. ASGI has no word for that: its transport is cut."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn's `send` is a bound method of the request cycle, which knows its transport.
        scope[CUT] = cast("Any", send).__self__.transport.abort
        await self._app(scope, receive, send)


def _problem(errors: list[str], status: int = 422) -> Response:
    body = {"title": "the sandbox does not understand this", "status": status, "errors": errors}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


async def run(host: str, port: int, smtp_port: int, latency: Any) -> None:
    """Until SIGTERM or SIGINT."""
    sandbox = Sandbox(latency)
    mail = await smtp.start(sandbox.mailbox, host, smtp_port)
    config = uvicorn.Config(
        sandbox.app,
        host=host,
        port=port,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    with contextlib.closing(mail):
        await uvicorn.Server(config).serve()


def main() -> None:
    parser = argparse.ArgumentParser("provider-sandbox", description="Bold, WhatsApp and SMTP to test against")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--smtp-port", type=int, default=2525)
    parser.add_argument("--latency", default="0", help="seconds, or a range like 1-3")
    chosen = parser.parse_args()
    low, _, high = chosen.latency.partition("-")
    latency = {"uniform": [float(low), float(high)]} if high else float(low)
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(chosen.host, chosen.port, chosen.smtp_port, latency))

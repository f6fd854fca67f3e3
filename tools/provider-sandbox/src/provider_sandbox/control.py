"""The control API under `/_sandbox`: what effects there were, and what shall go wrong next (README)."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.accounts import Accounts
from provider_sandbox.bold import Bold
from provider_sandbox.bold_links import Sale, Status
from provider_sandbox.effects import Effects, UnknownFilterError
from provider_sandbox.faults import FaultRequest, Faults, ProviderName
from provider_sandbox.sire import Sire
from provider_sandbox.smtp import Mailbox
from provider_sandbox.ttlock import TTLock
from provider_sandbox.webhooks import NothingToTellError, Order, Sender
from provider_sandbox.whatsapp import WhatsApp
from provider_sandbox.whatsapp_webhooks import batched

M = TypeVar("M", bound=BaseModel)


class AccountsOrder(Accounts):
    provider: ProviderName


class WindowOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wa_id: Annotated[str, Field(pattern=r"^\+?[1-9][0-9]{6,14}$")]
    phone_number_id: str | None = None
    age_seconds: Annotated[float, Field(ge=0)] = 0


class LinkOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: Status


class RawEvent(BaseModel):
    """An event whose payload is sent as it is."""

    model_config = ConfigDict(extra="forbid")

    raw: dict[str, Any]


class Control:
    """Talks to all providers of the sandbox, and to nobody's clients."""

    def __init__(
        self,
        effects: Effects,
        faults: Faults,
        bold: Bold,
        whatsapp: WhatsApp,
        mailbox: Mailbox,
        ttlock: TTLock,
        sire: Sire,
        sender: Sender,
    ) -> None:
        self._effects = effects
        self._faults = faults
        self._bold = bold
        self._whatsapp = whatsapp
        self._mailbox = mailbox
        self._sender = sender
        self._ttlock = ttlock
        self._sire = sire
        self._providers: dict[str, Bold | WhatsApp | Mailbox | TTLock | Sire] = {
            "bold": bold,
            "whatsapp": whatsapp,
            "smtp": mailbox,
            "ttlock": ttlock,
            "sire": sire,
        }

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/effects", self.show_effects),
            Route("/effects", self.clear_effects, methods=["DELETE"]),
            Route("/faults", self.show_faults),
            Route("/faults", self.add_fault, methods=["POST"]),
            Route("/faults", self.clear_faults, methods=["DELETE"]),
            Route("/faults/{number:int}", self.remove_fault, methods=["DELETE"]),
            Route("/settings", self.show_settings),
            Route("/settings", self.reset_settings, methods=["DELETE"]),
            Route("/settings/{provider}", self.change_settings, methods=["PATCH"]),
            Route("/accounts", self.show_accounts),
            Route("/accounts", self.set_accounts, methods=["POST"]),
            Route("/windows", self.open_window, methods=["POST"]),
            Route("/links/{link}", self.set_link, methods=["PATCH"]),
            Route("/webhooks", self.fire, methods=["POST"]),
        ]

    async def health(self, _request: Request) -> Response:
        """`in_flight`: requests that may still make an effect, so that a judge can wait for 0."""
        over_http = (self._bold, self._whatsapp, self._ttlock, self._sire)
        waiting = sum(provider.exchanges.in_flight for provider in over_http) + self._mailbox.in_flight
        return JSONResponse({"status": "ready", "in_flight": waiting})

    async def show_effects(self, request: Request) -> Response:
        return JSONResponse(self._effects.find(dict(request.query_params)))

    async def clear_effects(self, _request: Request) -> Response:
        self._effects.clear()
        return Response(status_code=204)

    async def show_faults(self, _request: Request) -> Response:
        return JSONResponse(self._faults.shown())

    async def add_fault(self, request: Request) -> Response:
        return JSONResponse({"id": self._faults.add(await _read(FaultRequest, request))}, status_code=201)

    async def clear_faults(self, _request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def remove_fault(self, request: Request) -> Response:
        number = request.path_params["number"]
        if not self._faults.remove(number):
            raise HTTPException(404, f"no fault {number}")
        return Response(status_code=204)

    async def show_settings(self, _request: Request) -> Response:
        return JSONResponse({name: each.settings.model_dump(mode="json") for name, each in self._providers.items()})

    async def change_settings(self, request: Request) -> Response:
        provider = self._providers.get(request.path_params["provider"])
        if provider is None:
            raise HTTPException(404, f"no such provider; there are {', '.join(self._providers)}")
        try:
            changes = json.loads(await request.body())
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error
        if not isinstance(changes, dict):
            raise HTTPException(422, "the body must be an object of settings")
        provider.configure(changes)
        return JSONResponse(provider.settings.model_dump(mode="json"))

    async def reset_settings(self, _request: Request) -> Response:
        for provider in self._providers.values():
            provider.reset()
        return Response(status_code=204)

    async def show_accounts(self, _request: Request) -> Response:
        return JSONResponse({name: each.accounts.model_dump(mode="json") for name, each in self._providers.items()})

    async def set_accounts(self, request: Request) -> Response:
        order = await _read(AccountsOrder, request)
        self._providers[order.provider].accounts = Accounts(known=order.known, refused=order.refused)
        return await self.show_accounts(request)

    async def open_window(self, request: Request) -> Response:
        order = await _read(WindowOrder, request)
        self._whatsapp.open_window(order.phone_number_id, order.wa_id.removeprefix("+"), order.age_seconds)
        return Response(status_code=204)

    async def set_link(self, request: Request) -> Response:
        link, order = request.path_params["link"], await _read(LinkOrder, request)
        if not self._bold.set_status(link, order.status):
            raise HTTPException(404, f"no link {link}")
        return Response(status_code=204)

    async def fire(self, request: Request) -> Response:
        """Answers `{payloads, deliveries}` when the last delivery is over."""
        order = await _read(Order, request)
        payloads = self._payloads(order)
        if order.batch:
            if order.provider != "whatsapp":
                raise HTTPException(422, "batch is for whatsapp only; Bold sends each event alone")
            payloads = [batched(payloads)]
        return JSONResponse({"payloads": payloads, "deliveries": await self._sender.send(order, payloads)})

    def _payloads(self, order: Order) -> list[dict[str, Any]]:
        if all("raw" in event for event in order.events):
            return [RawEvent.model_validate(event).raw for event in order.events]
        if order.provider == "bold":
            sales = [Sale.model_validate(event) for event in order.events]
            return [self._bold.happened(sale) for sale in sales]
        return [self._whatsapp.webhook(event) for event in order.events]


async def _read(model: type[M], request: Request) -> M:
    return model.model_validate_json(await request.body())


def problem(status: int, errors: list[str], **more: Any) -> Response:
    """RFC 9457: what is wrong, and what is allowed."""
    body = {"type": "about:blank", "title": "the sandbox cannot do this", "status": status, "errors": errors, **more}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    found = error.errors(include_url=False)
    texts = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in found]
    return problem(400 if any(each["type"] == "json_invalid" for each in found) else 422, texts, about=error.title)


async def _refused(_request: Request, error: Exception) -> Response:
    return problem(404 if isinstance(error, NothingToTellError) else 422, [str(error)])


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, [error.detail])


PROBLEMS: Mapping[Any, Any] = {
    ValidationError: _invalid,
    UnknownFilterError: _refused,
    NothingToTellError: _refused,
    HTTPException: _http,
}
"""Starlette's exception handlers of the control API."""

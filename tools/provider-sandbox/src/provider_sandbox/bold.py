"""Bold's "API Link de pagos", as a client meets it (web.developers.bold.co/pagos-en-linea/api-link-de-pagos).

What is undocumented and had to be chosen is marked (chosen); what only users report is marked (users).
"""

import base64
import json
import os
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.accounts import Accounts
from provider_sandbox.bold_links import Link, Sale, Status, sale_webhook
from provider_sandbox.bold_rules import MISLEADING, Limits, refusal
from provider_sandbox.effects import Effects
from provider_sandbox.exchange import Exchanges
from provider_sandbox.faults import Faults
from provider_sandbox.webhooks import NothingToTellError

_FORBIDDEN = {"message": "Forbidden"}
_UNKNOWN_PATH = {"message": "Missing Authentication Token"}
"""Bold's gateway answers so to a path that it does not have (users)."""

Limit = dict[Literal["min", "max"], int]
_LIMITS: dict[str, Limit] = {
    "CREDIT_CARD": {"max": 5_000_000, "min": 1_000},
    "PSE": {"max": 5_000_000, "min": 1_000},
    "BOTON_BANCOLOMBIA": {"max": 10_000_000, "min": 1_000},
    "NEQUI": {"max": 10_000_000, "min": 1_000},
}


class BoldSettings(BaseModel):
    """What differs between merchants, or is not documented."""

    model_config = ConfigDict(extra="forbid")

    payment_methods: dict[str, Limit] = _LIMITS
    """Name → least and most whole pesos, for merchants that have none of their own."""
    merchant_payment_methods: dict[str, dict[str, Limit]] = {}
    """Identity key → its own limits."""
    status_shape: Literal["flat", "enveloped"] = "flat"
    duplicate_reference: Literal["accept", "reject"] = "accept"
    webhook_reference: Literal["reference", "link"] = "reference"
    """What `data.metadata.reference` of a webhook holds: sources contradict each other."""


class Bold:
    """The identity key in the header is the account."""

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self.exchanges = Exchanges("bold", faults, _ordered_error)
        self.settings = BoldSettings()
        self.accounts = Accounts()
        self._links: dict[str, Link] = {}
        self._newest: dict[str, Link] = {}
        self._used: set[tuple[str, str]] = set()
        self._events: dict[tuple[bool, str], list[dict[str, Any]]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/online/link/v1", self.create_link, methods=["POST"]),
            Route("/online/link/v1/payment_methods", self.payment_methods),
            Route("/online/link/v1/{link}", self.link_status),
            Route("/payments/webhook/notifications/{payment}", self.notifications),
            Route("/{rest:path}", self.unknown_path, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]

    async def create_link(self, request: Request) -> Response:
        key = _key(request)

        def answer(content: bytes) -> Response:
            if not self.accounts.allow(key):
                return JSONResponse(_FORBIDDEN, status_code=403)
            try:
                body = json.loads(content)
            except ValueError:
                return error(400, "AP006", "the body is not JSON")
            refused = refusal(body, self._limits(key))
            if refused is MISLEADING:
                return JSONResponse(_FORBIDDEN, status_code=403)
            if refused is not None:
                return error(400, *refused)
            if self.settings.duplicate_reference == "reject" and (key, body["reference"]) in self._used:
                return error(409, "AP001", "reference was used before")  # (chosen): undocumented
            return self._made(key, body)

        return await self.exchanges.run(request, "create_link", key, answer)

    async def payment_methods(self, request: Request) -> Response:
        key = _key(request)
        shown = {"payload": {"payment_methods": self._limits(key)}, "errors": []}
        return await self._read(request, "payment_methods", lambda: JSONResponse(shown))

    async def link_status(self, request: Request) -> Response:
        def answer() -> Response:
            link = self._links.get(request.path_params["link"])
            if link is None or link.account != _key(request):
                return error(404, "AP001", "link not found")  # (chosen)
            flat = self.settings.status_shape == "flat"
            return JSONResponse(link.shown() if flat else {"payload": link.shown(), "errors": []})

        return await self._read(request, "link_status", answer)

    async def notifications(self, request: Request) -> Response:
        """The fallback for missed webhooks: the events of a payment, or with the flag of a reference, newest last."""

        def answer() -> Response:
            external = request.query_params.get("is_external_reference") == "true"
            found = self._events.get((external, request.path_params["payment"]), [])
            return JSONResponse({"notifications": found})

        return await self._read(request, "notifications", answer)

    async def unknown_path(self, _request: Request) -> Response:
        return JSONResponse(_UNKNOWN_PATH, status_code=403)

    def configure(self, changes: dict[str, Any]) -> None:
        """Change some settings; raises pydantic's ValidationError."""
        self.settings = BoldSettings.model_validate({**self.settings.model_dump(), **changes})

    def reset(self) -> None:
        """Settings and accounts as at the start."""
        self.settings, self.accounts = BoldSettings(), Accounts()

    def set_status(self, link_id: str, status: Status) -> bool:
        """Put a link into a state of its life cycle; false if there is no such link."""
        link = self._links.get(link_id)
        if link is not None:
            link.status = status
        return link is not None

    def happened(self, sale: Sale) -> dict[str, Any]:
        """The sale changes its link and is kept for `notifications`; returns the webhook. Raises NothingToTellError."""
        found = self._links.get(sale.link or "") or self._newest.get(sale.reference or "")
        if found is None:
            raise NothingToTellError(f"no link {sale.link or sale.reference}")
        payment_id = sale.payment_id or found.transaction_id or f"SBX{os.urandom(6).hex().upper()}"
        if sale.type == "SALE_APPROVED":
            found.status, found.payment_method, found.transaction_id = "PAID", sale.payment_method, payment_id
        elif sale.type == "SALE_REJECTED":
            found.status = "ACTIVE"  # after one failed attempt a link can be paid again
        told = found.reference if self.settings.webhook_reference == "reference" else found.id
        event = sale_webhook(sale, found, payment_id, told)
        for key in {(False, payment_id), (False, found.id), (True, found.reference)}:
            self._events.setdefault(key, []).append(event)
        return event

    async def _read(self, request: Request, operation: str, answer: Any) -> Response:
        key = _key(request)

        def allowed(_body: bytes) -> Response:
            found: Response = answer() if self.accounts.allow(key) else JSONResponse(_FORBIDDEN, status_code=403)
            return found

        return await self.exchanges.run(request, operation, key, allowed)

    def _limits(self, key: str) -> Limits:
        return self.settings.merchant_payment_methods.get(key, self.settings.payment_methods)

    def _made(self, key: str, body: dict[str, Any]) -> Response:
        amount = body.get("amount") or {}
        link = Link(
            id="LNK_" + base64.b32encode(os.urandom(10))[:10].decode(),
            account=key,
            reference=body["reference"],
            amount_type=body["amount_type"],
            amount=amount.get("total_amount", 0),
            tip=amount.get("tip_amount") or 0,
            taxes=amount.get("taxes") or [],
            description=body.get("description"),
            payer_email=body.get("payer_email"),
            created=time.time_ns(),
            expires=body.get("expiration_date"),
        )
        self._links[link.id] = link
        self._newest[link.reference] = link
        self._used.add((key, link.reference))
        self._effects.made(
            "bold", "create_link", key, recipient=link.payer_email, reference=link.reference, id=link.id, url=link.url,
            amount=link.amount, currency=amount.get("currency"), expiration_date=link.expires,
            description=link.description, payment_methods=body.get("payment_methods"),
        )  # fmt: skip
        return JSONResponse({"payload": {"payment_link": link.id, "url": link.url}, "errors": []})


def _key(request: Request) -> str:
    """The identity key of `Authorization: x-api-key <key>`; empty if there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme == "x-api-key" else ""


def error(status: int, code: str, message: str) -> Response:
    """Bold's own error body."""
    return JSONResponse({"payload": {}, "errors": [{"code": code, "message": message}]}, status_code=status)


def _ordered_error(value: Any) -> Response:
    """What a fault asks for: a code, `{status, code}`, or a status alone."""
    known = value if isinstance(value, dict) else {"code": value}
    return error(known.get("status") or 400, str(known.get("code") or "AP001"), "ordered by the sandbox")

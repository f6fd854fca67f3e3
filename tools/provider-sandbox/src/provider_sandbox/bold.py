"""Bold's "API Link de pagos" (web.developers.bold.co/pagos-en-linea/api-link-de-pagos), as a client meets it."""

import hashlib
import itertools
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.effects import Effects
from provider_sandbox.faults import Faults
from provider_sandbox.provider import serve

METHODS: dict[str, dict[str, int]] = {
    "CREDIT_CARD": {"max": 5_000_000, "min": 1_000},
    "PSE": {"max": 5_000_000, "min": 1_000},
    "BOTON_BANCOLOMBIA": {"max": 10_000_000, "min": 1_000},
    "NEQUI": {"max": 10_000_000, "min": 1_000},
}
_REFERENCE = re.compile(r"^[A-Za-z0-9_-]{1,60}$")
_FORBIDDEN = {"message": "Forbidden"}


@dataclass
class Link:
    id: str
    account: str
    reference: str
    amount: int
    description: str | None
    created: int
    expires: int | None
    """Nanoseconds of the epoch, as Bold counts."""
    status: str = "ACTIVE"

    def shown(self) -> dict[str, Any]:
        expired = self.expires is not None and self.expires < time.time_ns() and self.status == "ACTIVE"
        return {
            "api_version": 1,
            "id": self.id,
            "total": self.amount,
            "subtotal": self.amount,
            "tip_amount": 0,
            "taxes": [],
            "status": "EXPIRED" if expired else self.status,
            "expiration_date": self.expires,
            "creation_date": self.created,
            "description": self.description,
            "payment_method": None,
            "transaction_id": None,
            "amount_type": "CLOSE",
            "is_sandbox": True,
            "reference": self.reference,
        }


class Bold:
    """`refused` are keys that get 403. `enveloped` wraps the status answer in `payload`, as some accounts see it."""

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self._faults = faults
        self._links: dict[str, Link] = {}
        self._ids = itertools.count(1)
        self.refused: set[str] = set()
        self.enveloped = False
        self.limits = METHODS

    def routes(self) -> list[Route]:
        return [
            Route("/online/link/v1/payment_methods", self.payment_methods),
            Route("/online/link/v1", self.create, methods=["POST"]),
            Route("/online/link/v1/{link}", self.status),
            Route("/payments/webhook/notifications/{payment}", self.notifications),
        ]

    async def payment_methods(self, request: Request) -> Response:
        async def answer() -> Response:
            return JSONResponse({"payload": {"payment_methods": self.limits}, "errors": []})

        return await self._serve(request, "payment_methods", answer)

    async def create(self, request: Request) -> Response:
        account = self._account(request)

        async def answer() -> Response:
            try:
                body = await request.json()
            except ValueError:
                return _error(400, "AP006", "the body is not JSON")
            refused = self._refusal(body)
            return refused if refused is not None else self._made(account or "", body)

        return await self._serve(request, "create_link", answer)

    async def status(self, request: Request) -> Response:
        async def answer() -> Response:
            link = self._links.get(request.path_params["link"])
            if link is None:
                return _error(404, "AP001", "link not found")
            return JSONResponse({"payload": link.shown(), "errors": []} if self.enveloped else link.shown())

        return await self._serve(request, "link_status", answer)

    async def notifications(self, request: Request) -> Response:
        async def answer() -> Response:
            return JSONResponse({"notifications": []})

        return await self._serve(request, "notifications", answer)

    async def _serve(self, request: Request, operation: str, answer: Any) -> Response:
        account = self._account(request)
        if account is None:
            return JSONResponse(_FORBIDDEN, status_code=403)
        return await serve(self._faults, request, "bold", operation, account, answer, _ordered_error)

    def _account(self, request: Request) -> str | None:
        """`Authorization: x-api-key <key>`; the key is the account."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key if scheme == "x-api-key" and key and key not in self.refused else None

    def _refusal(self, body: Any) -> Response | None:
        """Bold's answer to a body that it does not take; None for a good one."""
        if not isinstance(body, dict):
            return _error(400, "AP006", "the body must be an object")
        reference, amount = body.get("reference"), body.get("amount") or {}
        total = amount.get("total_amount") if isinstance(amount, dict) else None
        if reference is None or isinstance(total, float):
            return JSONResponse(_FORBIDDEN, status_code=403)  # misleading, and reported by several users
        problem = _problem(body, reference, total)
        if problem is not None:
            return _error(400, *problem)
        if body["amount_type"] == "CLOSE":
            names = body.get("payment_methods") or list(self.limits)
            for name in names:
                limit = self.limits.get(name)
                if limit is None:
                    return _error(400, "AP003", f"payment method {name} is not active")
                if total is None or not limit["min"] <= total <= limit["max"]:
                    return _error(422, "AP001", f"amount {total} is outside {limit['min']}..{limit['max']} of {name}")
        return None

    def _made(self, account: str, body: dict[str, Any]) -> Response:
        number = next(self._ids)
        link_id = "LNK_" + hashlib.sha256(f"{number}{secrets.token_hex(4)}".encode()).hexdigest()[:10].upper()
        total = (body.get("amount") or {}).get("total_amount", 0)
        link = Link(
            id=link_id,
            account=account,
            reference=body["reference"],
            amount=total,
            description=body.get("description"),
            created=time.time_ns(),
            expires=body.get("expiration_date"),
        )
        self._links[link_id] = link
        url = f"https://checkout.bold.co/{link_id}"
        extra = {"amount": total, "expiration_date": link.expires, "url": url}
        self._effects.made("bold", "create_link", account, None, reference=link.reference, id=link_id, **extra)
        return JSONResponse({"payload": {"payment_link": link_id, "url": url}, "errors": []})


def _problem(body: dict[str, Any], reference: Any, total: Any) -> tuple[str, str] | None:  # noqa: PLR0911 - a list of rules
    if body.get("amount_type") not in ("OPEN", "CLOSE"):
        return "AP005", "amount_type must be OPEN or CLOSE"
    if not isinstance(reference, str) or not _REFERENCE.match(reference):
        return "AP006", "reference must be 1 to 60 of A-Z a-z 0-9 _ -"
    if body["amount_type"] == "CLOSE" and not (isinstance(total, int) and not isinstance(total, bool) and total > 0):
        return "AP006", "amount.total_amount must be a positive integer"
    if body["amount_type"] == "CLOSE" and body["amount"].get("currency") not in ("COP", "USD"):
        return "AP006", "amount.currency must be COP or USD"
    description = body.get("description")
    if description is not None and not 2 <= len(str(description)) <= 100:  # noqa: PLR2004 - Bold's own limits
        return "AP006", "description must have 2 to 100 characters"
    expires = body.get("expiration_date")
    if expires is not None and (not isinstance(expires, int) or expires <= time.time_ns()):
        return "AP006", "expiration_date must be nanoseconds in the future"
    for field in ("callback_url", "image_url"):
        value = body.get(field)
        if value is not None and not str(value).startswith("https://"):
            return "AP006", f"{field}: invalid or missing URL scheme"
    return None


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"payload": {}, "errors": [{"code": code, "message": message}]}, status_code=status)


def _ordered_error(value: Any) -> Response:
    """The provider's own error body: `{"status": 500, "code": "AP001"}`, or a code alone (then 400)."""
    known = value if isinstance(value, dict) else {"code": value}
    return _error(int(known.get("status", 400)), str(known.get("code", "AP001")), "ordered by the sandbox")

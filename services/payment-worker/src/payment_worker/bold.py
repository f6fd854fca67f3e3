"""Bold's payment links: a client, and one table from what it answers to what happens then.

Source: web.developers.bold.co/pagos-en-linea/api-link-de-pagos. The link API publishes no code table; the lines marked
(users) were reported by several integrations. There is no look-up by reference and no idempotency key: each attempt
has a reference of its own, and every link an expiry, so that the link of an unanswered attempt dies unseen.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from llegada.events.types import Money
from llegada.messaging.failures import Credentials, Failure, OutcomeUnknown, Permanent, RateLimited, Transient
from llegada.messaging.gate import Limit, Way
from llegada.runtime.http import ProviderClient, retry_after
from payment_worker import pretended

_LINKS = "/online/link/v1"
_LIMITS_FRESH = timedelta(minutes=10).total_seconds()
_RATE_WAIT = timedelta(seconds=4)
_MISLEADING_403 = (
    "Check the identity key of this organization at Bold. Bold also answers 403 to amounts with decimals and to a "
    "missing reference, so do not change the key before it was compared."
)
_BY_HAND = (
    "Correct the amount or the contact and ask for the link again, or agree with the guest on another way to pay."
)

# Status → failure class and plain words. Anything else is permanent, and loud.
_BY_STATUS: dict[int, tuple[type[Failure], str]] = {
    400: (Permanent, "Bold refused the request"),  # errors[] envelope
    401: (Credentials, "Bold does not know the key"),  # (users)
    403: (Credentials, "Bold refused the key or the request"),  # gateway: {"message": "Forbidden"} (users)
    404: (Permanent, "Bold does not know this address"),  # errors[] envelope
    405: (Permanent, "Bold refused the request"),
    409: (Permanent, "Bold refused the reference"),  # undocumented for a reference used twice
    422: (Permanent, "Bold refused the request"),  # errors[] envelope
}


@dataclass(frozen=True)
class Link:
    id: str
    url: str


@dataclass(frozen=True)
class AmountRange:
    """What one payment method takes, in whole pesos."""

    least: int
    most: int


class Bold:
    """`merchants`: organization → identity key. Limits are per merchant and change: read, and kept for ten minutes.

    `per_second`: calls that a merchant may make; Bold publishes no figure. 0: no limit of our own. `synthetic`: the
    organization for which nobody is called.
    """

    def __init__(
        self,
        http: ProviderClient,
        merchants: Mapping[int, SecretStr],
        per_second: float = 0,
        synthetic: int | None = None,
    ) -> None:
        self._http = http
        self._synthetic = synthetic
        self._merchants = merchants
        self._per_second = per_second
        self._limits: dict[int, tuple[float, dict[str, AmountRange]]] = {}
        self._reading: dict[int, asyncio.Lock] = {}

    def way(self, organization_id: int) -> Way:
        account = str(organization_id)
        limits = [Limit(f"bold/{account}", self._per_second)] if self._per_second else []
        return Way("bold", account, limits)

    async def create_link(
        self, organization_id: int, reference: str, amount: Money, description: str, expires_at: datetime
    ) -> Link:
        """Make a link with a fixed amount. Raises the failures of the table; Permanent for an amount nobody takes."""
        methods = [name for name, limit in (await self._methods(organization_id)).items() if _takes(limit, amount)]
        if not methods:
            raise Permanent(
                f"Bold takes no payment of {amount.amount} {amount.currency}: {await self._range(organization_id)}",
                code="amount",
                advice="Split the amount, or agree on another way to pay.",
            )
        body = {
            "amount_type": "CLOSE",
            "amount": {"currency": amount.currency, "total_amount": amount.amount, "tip_amount": 0, "taxes": []},
            "reference": reference,
            "description": description[:100],
            "expiration_date": int(expires_at.timestamp() * 1_000_000_000),
            "payment_methods": methods,
        }
        answer = await self._call(organization_id, "create_link", "POST", _LINKS, body)
        payload = answer.get("payload") or answer  # both shapes are seen
        url, link_id = payload.get("url"), payload.get("payment_link") or payload.get("id")
        if not isinstance(url, str) or not isinstance(link_id, str):
            raise OutcomeUnknown("Bold's answer holds no link", code="shape")
        return Link(link_id, url)

    async def link_status(self, organization_id: int, link_id: str) -> str:
        """`ACTIVE`, `PROCESSING`, `PAID`, `REJECTED`, `CANCELLED` or `EXPIRED`."""
        answer = await self._call(organization_id, "link_status", "GET", f"{_LINKS}/{quote(link_id, safe='')}", None)
        return str((answer.get("payload") or answer).get("status"))

    async def notifications(self, organization_id: int, reference: str) -> list[dict[str, Any]]:
        """The webhooks that were sent, or should have been, about our reference; oldest first."""
        path = f"/payments/webhook/notifications/{quote(reference, safe='')}?is_external_reference=true"
        answer = await self._call(organization_id, "notifications", "GET", path, None)
        found = answer.get("notifications")
        return [event for event in found if isinstance(event, dict)] if isinstance(found, list) else []

    async def _methods(self, organization_id: int) -> dict[str, AmountRange]:
        async with self._reading.setdefault(organization_id, asyncio.Lock()):
            read_at, limits = self._limits.get(organization_id, (0.0, {}))
            if limits and time.monotonic() - read_at < _LIMITS_FRESH:
                return limits
            answer = await self._call(organization_id, "payment_methods", "GET", f"{_LINKS}/payment_methods", None)
            found = (answer.get("payload") or answer).get("payment_methods")
            if not isinstance(found, dict) or not found:
                raise Transient("Bold named no payment methods", code="shape")
            limits = {name: AmountRange(int(limit["min"]), int(limit["max"])) for name, limit in found.items()}
            self._limits[organization_id] = time.monotonic(), limits
            return limits

    async def _range(self, organization_id: int) -> str:
        limits = (await self._methods(organization_id)).values()
        return f"allowed are {min(v.least for v in limits)} to {max(v.most for v in limits)}"

    async def _call(self, organization_id: int, operation: str, method: str, path: str, body: Any) -> dict[str, Any]:
        if organization_id == self._synthetic:
            return pretended.answer(operation, body)
        key = self._merchants.get(organization_id)
        if key is None:
            raise Credentials(
                f"organization {organization_id} has no key for Bold",
                code="no key",
                advice="Enter the identity key of the organization's Bold account.",
            )
        headers = {"Authorization": f"x-api-key {key.get_secret_value()}"}
        response = await self._http.request(operation, method, path, headers=headers, json=body)
        if not response.is_success:
            raise failure_of(response)
        try:
            answer = response.json()
        except ValueError as error:
            raise OutcomeUnknown("Bold's answer could not be read", code="shape") from error
        if not isinstance(answer, dict):
            raise OutcomeUnknown("Bold's answer could not be read", code="shape")
        return answer


def failure_of(response: httpx.Response) -> Failure:
    """The failure that an answer stands for."""
    status, errors = response.status_code, _errors(response)
    code = errors[0][0] if errors else str(status)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        wait = retry_after(response, _RATE_WAIT)
        return RateLimited("Bold takes no more requests for the moment", retry_after=wait, code=code)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        if errors:  # Bold's own body: it says itself that it did not do it
            return Transient(f"Bold had an error: {errors[0][1]}", code=code)
        return OutcomeUnknown(f"Bold answered {status} without saying what it did", code=code)
    cls, words = _BY_STATUS.get(status, (Permanent, f"Bold answered {status}, which nobody expected"))
    reason = f"{words}: {errors[0][1]}" if errors else words
    return cls(reason, code=code, advice=_MISLEADING_403 if cls is Credentials else _BY_HAND)


def _errors(response: httpx.Response) -> list[tuple[str, str]]:
    """Code and text of Bold's `errors[]`; empty where the body is somebody else's."""
    try:
        errors = response.json().get("errors")
    except (ValueError, AttributeError):
        return []
    if not isinstance(errors, list):
        return []
    known = [error for error in errors if isinstance(error, dict)]
    return [(str(e.get("code", "?")), str(e.get("message") or e.get("description") or "no text")) for e in known]


def _takes(limit: AmountRange, amount: Money) -> bool:
    return limit.least <= amount.amount <= limit.most


def expiry(lifetime: timedelta) -> datetime:
    """When a link made now dies; whole seconds."""
    return (datetime.now(UTC) + lifetime).replace(microsecond=0)

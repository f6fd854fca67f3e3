"""What Bold refuses in the body of a new link, rule by rule; unknown fields are tolerated.

Codes are those published for Bold's sister API (AP002 taxes, AP003 method not active, AP005 missing field, AP006 wrong
type): the link API publishes none.
"""

import re
import time
from collections.abc import Mapping
from typing import Any, Literal, TypeGuard
from urllib.parse import urlsplit

Limits = Mapping[str, Mapping[Literal["min", "max"], int]]
Refusal = tuple[str, str]
"""Code and message of an `errors[]` entry."""

MISLEADING: Refusal = ("403", "Forbidden")
"""Bold's gateway answers as if the key were wrong; users report it for decimals and for a missing reference."""

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,60}")


def refusal(body: Any, limits: Limits) -> Refusal | None:
    """Why Bold does not take this body; MISLEADING where it blames the key instead; None for a good one."""
    if not isinstance(body, dict):
        return "AP006", "the body must be an object"
    amount = body.get("amount")
    total = amount.get("total_amount") if isinstance(amount, dict) else None
    if body.get("reference") in (None, "") or isinstance(total, float):
        return MISLEADING
    if body.get("amount_type") not in ("OPEN", "CLOSE"):
        return "AP005", "amount_type must be OPEN or CLOSE"
    return _text_refusal(body) or _time_and_address_refusal(body) or _money_refusal(body, limits)


def _text_refusal(body: dict[str, Any]) -> Refusal | None:
    reference, description = body["reference"], body.get("description")
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        return "AP006", "reference must be 1 to 60 of A-Z a-z 0-9 _ -"
    if description is not None and not (isinstance(description, str) and 2 <= len(description) <= 100):  # noqa: PLR2004 - Bold's own limits
        return "AP006", "description must have 2 to 100 characters"
    return None


def _time_and_address_refusal(body: dict[str, Any]) -> Refusal | None:
    expires = body.get("expiration_date")
    if expires is not None and not _whole(expires):
        return "AP006", "expiration_date must be an integer of nanoseconds"
    if expires is not None and expires <= time.time_ns():  # milliseconds by mistake are in 1970, too
        return "AP006", "expiration_date must be nanoseconds in the future"
    for field in ("callback_url", "image_url"):
        value = body.get(field)
        if value is None:
            continue
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts is None or parts.scheme != "https" or not parts.netloc:
            return "AP006", f"{field}: invalid or missing URL scheme"
    return None


def _money_refusal(body: dict[str, Any], limits: Limits) -> Refusal | None:
    amount, methods = body.get("amount"), body.get("payment_methods")
    if methods is not None and not (isinstance(methods, list) and methods):
        return "AP006", "payment_methods must be a list of names"
    inactive = [str(name) for name in methods or () if not isinstance(name, str) or name not in limits]
    if inactive:
        return "AP003", f"payment method {inactive[0]} is not active"
    if body["amount_type"] == "OPEN":
        return None
    if not isinstance(amount, dict):
        return "AP005", "amount is missing"
    return _amount_refusal(amount) or _limit_refusal(amount["total_amount"], methods, limits)


def _amount_refusal(amount: dict[str, Any]) -> Refusal | None:
    total, tip, taxes = amount.get("total_amount"), amount.get("tip_amount"), amount.get("taxes")
    if not _whole(total) or total <= 0:
        return "AP006", "amount.total_amount must be a positive integer of pesos"
    if amount.get("currency") not in ("COP", "USD"):
        return "AP006", "amount.currency must be COP or USD"
    if tip is not None and (not _whole(tip) or tip < 0):
        return "AP006", "amount.tip_amount must be an integer"
    if taxes is not None and not (isinstance(taxes, list) and all(_is_tax(tax) for tax in taxes)):
        return "AP006", "amount.taxes must be a list of {type: VAT or CONSUMPTION, base, value} in integers"
    if sum(tax["value"] for tax in taxes or ()) + (tip or 0) > total:  # the exact arithmetic is not documented
        return "AP002", "taxes and tip do not fit the total"
    return None


def _limit_refusal(total: int, methods: list[str] | None, limits: Limits) -> Refusal | None:
    """Every method that was named must take the amount; of the merchant's own, one is enough (undocumented)."""
    fits = {name: limits[name]["min"] <= total <= limits[name]["max"] for name in methods or limits}
    if all(fits.values()) or (methods is None and any(fits.values())):
        return None
    shown = ", ".join(f"{name} {limits[name]['min']} to {limits[name]['max']}" for name, fit in fits.items() if not fit)
    return "AP001", f"amount {total} is outside the limits: {shown}"


def _is_tax(tax: Any) -> bool:
    if not isinstance(tax, dict) or tax.get("type") not in ("VAT", "CONSUMPTION"):
        return False
    return _whole(tax.get("base")) and _whole(tax.get("value"))


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)

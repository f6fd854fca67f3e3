"""Meta's error bodies (developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes)."""

import secrets
from typing import Any

from starlette.responses import JSONResponse, Response

TITLES: dict[int, str] = {
    0: "We were unable to authenticate the app user",
    1: "Unknown error",
    2: "Service temporarily unavailable",
    3: "Capability or permissions issue",
    4: "Too many API calls",
    10: "Permission is either not granted or has been removed",
    33: "Parameter value is not valid",
    100: "Invalid parameter",
    190: "Invalid OAuth access token",
    368: "Temporarily blocked for policies violations",
    80007: "Rate limit issues",
    130429: "Rate limit hit",
    130472: "User's number is part of an experiment",
    130497: "Business account is restricted from messaging users in this country",
    131000: "Something went wrong",
    131005: "Access denied",
    131008: "Required parameter is missing",
    131009: "Parameter value is not valid",
    131016: "Service unavailable",
    131021: "Recipient cannot be sender",
    131026: "Message undeliverable",
    131030: "Recipient phone number not in allowed list",
    131031: "Account has been locked",
    131042: "Business eligibility payment issue",
    131045: "Incorrect certificate",
    131047: "Re-engagement message",
    131048: "Spam rate limit hit",
    131049: "This message was not delivered to maintain healthy ecosystem engagement",
    131050: "User has stopped marketing messages",
    131051: "Unsupported message type",
    131056: "(Business Account, Consumer Account) pair rate limit hit",
    131057: "Account in maintenance mode",
    132000: "Number of parameters does not match the expected number of params",
    132001: "Template name does not exist in the translation",
    132005: "Translated text too long",
    132007: "Template format character policy violated",
    132012: "Parameter format does not match format in the created template",
    132015: "Template is paused",
    132016: "Template is disabled",
    133016: "Account register deregister rate limit exceeded",
    135000: "Generic user error",
}
"""Code → short text, from memory where the wording is concerned. Clients build on the code."""

_STATUS: dict[int, int] = {
    0: 401, 190: 401, 3: 500, 10: 403, 368: 403, 130497: 403, 4: 429, 80007: 429, 130429: 429, 131056: 429,
    132001: 404, 131000: 500, 131016: 503, 2: 503, 1: 500,
}  # fmt: skip
"""HTTP status of a code; Meta says not to rely on it. Sources differ for the rate limits (400 or 429)."""


def status_of(code: int) -> int:
    return 403 if 200 <= code <= 299 else _STATUS.get(code, 400)  # noqa: PLR2004 - Meta's range of permissions


def error(code: int, details: str | None = None, status: int | None = None, subcode: int | None = None) -> Response:
    """Meta's error body; `status` only where a fault asks for another one."""
    title = TITLES.get(code, "Error")
    body: dict[str, Any] = {
        "message": f"(#{code}) {title}",
        "type": "OAuthException",
        "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": details or title},
        "fbtrace_id": f"A{secrets.token_hex(8)}",
    }
    if subcode is not None:
        body["error_subcode"] = subcode
    return JSONResponse({"error": body}, status_code=status or status_of(code))


def status_error(code: int, details: str | None = None) -> dict[str, Any]:
    """The same error as a `failed` status webhook tells it."""
    title = TITLES.get(code, "Error")
    return {
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": details or title},
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    }


def ordered(value: Any) -> Response:
    """The error that a fault asks for: a code, or `{code, status}`."""
    known = value if isinstance(value, dict) else {"code": value}
    return error(int(known["code"]), "ordered by the sandbox", status=known.get("status"))

"""WhatsApp Business Cloud API (developers.facebook.com/documentation/business-messaging/whatsapp), as met."""

import itertools
import re
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.effects import Effects
from provider_sandbox.faults import Faults
from provider_sandbox.provider import serve

WINDOW_SECONDS = 24 * 3600
TEMPLATES: dict[tuple[str, str], int] = {
    ("reservation_checkin_invitation", "es"): 3,
    ("reservation_checkin_invitation", "en"): 3,
    ("reservation_checkin_invitation", "de"): 3,
    ("reservation_checkin_invitation_", "en"): 3,
}
"""Name and language → number of body parameters."""
STATUS: dict[int, int] = {
    0: 401, 190: 401, 3: 500, 10: 403, 368: 403, 130497: 403, 4: 429, 80007: 429, 130429: 429, 131056: 429,
    132001: 404, 131000: 500, 131016: 503, 2: 503, 1: 500,
}  # fmt: skip
"""HTTP status of a code; 400 for all others. Meta says not to rely on it."""


class WhatsApp:
    """`numbers`: known phone_number_ids, any if empty; `refused`: tokens that get 190."""

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self._faults = faults
        self._ids = itertools.count(1)
        self.numbers: set[str] = set()
        self.refused: set[str] = set()
        self.templates = dict(TEMPLATES)
        self._windows: dict[tuple[str, str], float] = {}

    def routes(self) -> list[Route]:
        return [Route("/v{version}/{number}/messages", self.send, methods=["POST"])]

    def open_window(self, number: str, wa_id: str) -> None:
        """As if the guest had just written to this number."""
        self._windows[number, wa_id] = time.time()

    async def send(self, request: Request) -> Response:
        number = request.path_params["number"]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token or token in self.refused:
            return error(190, "Invalid OAuth access token")
        if self.numbers and number not in self.numbers:
            return error(100, f"Unsupported post request. Object with ID '{number}' does not exist")

        async def answer() -> Response:
            try:
                body = await request.json()
            except ValueError:
                return error(100, "the body is not JSON")
            refused = self._refusal(number, body)
            return refused if refused is not None else self._accepted(number, body)

        return await serve(self._faults, request, "whatsapp", "send", number, answer, _ordered_error)

    def _refusal(self, number: str, body: Any) -> Response | None:
        if not isinstance(body, dict) or body.get("messaging_product") != "whatsapp":
            return error(100, "The parameter messaging_product is required.")
        to = str(body.get("to", "")).removeprefix("+")
        if not re.fullmatch(r"[1-9][0-9]{6,14}", to):
            return error(131009, "Parameter value is not valid: to")
        if len(str(body.get("biz_opaque_callback_data", ""))) > 512:  # noqa: PLR2004 - Meta's limit
            return error(100, "biz_opaque_callback_data is longer than 512 characters")
        match body.get("type"):
            case "text":
                return self._text_refusal(number, to, body)
            case "template":
                return self._template_refusal(body.get("template"))
            case other:
                return error(131051, f"Unsupported message type: {other}")

    def _text_refusal(self, number: str, to: str, body: dict[str, Any]) -> Response | None:
        if not (body.get("text") or {}).get("body"):
            return error(131008, "Required parameter is missing: text.body")
        if time.time() - self._windows.get((number, to), 0) > WINDOW_SECONDS:
            return error(131047, "Re-engagement message", "more than 24 hours have passed since the last message")
        return None

    def _template_refusal(self, template: Any) -> Response | None:
        name = str((template or {}).get("name"))
        language = str(((template or {}).get("language") or {}).get("code"))
        wanted = self.templates.get((name, language))
        if wanted is None:
            return error(132001, f"Template name ({name}) does not exist in the translation ({language})")
        bodies = [c for c in template.get("components", []) if c.get("type") == "body"]
        given = [str(p.get("text", "")) for c in bodies for p in c.get("parameters", [])]
        if len(given) != wanted:
            return error(132000, f"number of parameters ({len(given)}) does not match the expected number ({wanted})")
        if any(re.search(r"[\n\t]| {5,}", text) for text in given):
            return error(132012, "parameter format does not match: no new lines, tabs or more than 4 spaces")
        return None

    def _accepted(self, number: str, body: dict[str, Any]) -> Response:
        to = str(body["to"]).removeprefix("+")
        message_id = f"wamid.SANDBOX{next(self._ids):08d}{secrets.token_hex(4).upper()}"
        content = body.get("text") or body.get("template")
        reference = body.get("biz_opaque_callback_data")
        self._effects.made(
            "whatsapp", "send", number, to, reference=reference, id=message_id, type=body["type"], content=content
        )
        return JSONResponse(
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": body["to"], "wa_id": to}],
                "messages": [{"id": message_id, "message_status": "accepted"}],
            }
        )


def error(code: int, message: str, details: str | None = None, status: int | None = None) -> Response:
    """Meta's error body; `status` only where a fault asks for another one."""
    body = {
        "message": f"(#{code}) {message}",
        "type": "OAuthException",
        "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": details or message},
        "fbtrace_id": f"A{secrets.token_hex(8)}",
    }
    return JSONResponse({"error": body}, status_code=status or STATUS.get(code, 400))


def _ordered_error(value: Any) -> Response:
    known = value if isinstance(value, dict) else {"code": value}
    return error(int(known["code"]), "ordered by the sandbox", status=known.get("status"))

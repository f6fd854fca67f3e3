"""The envelope that the frontend knows, and its messages in three languages (German by default)."""

from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse

MessageKey = Literal["created_background", "created", "list", "one", "saved", "done"]

_MESSAGES: dict[MessageKey, dict[str, str]] = {
    "created_background": {
        "de": "Reservierung erstellt. Die Benachrichtigung wird im Hintergrund versendet.",
        "es": "Reserva creada. La notificación se envía en segundo plano.",
        "en": "Reservation created. The notification is being sent in the background.",
    },
    "created": {
        "de": "Reservierung erstellt und Benachrichtigung versendet.",
        "es": "Reserva creada y notificación enviada.",
        "en": "Reservation created and notification sent.",
    },
    "list": {"de": "Gefunden.", "es": "Encontrado.", "en": "Found."},
    "one": {"de": "Gefunden.", "es": "Encontrado.", "en": "Found."},
    "done": {
        "de": "Gespeichert. Alles Weitere geschieht im Hintergrund.",
        "es": "Guardado. Lo demás se hace en segundo plano.",
        "en": "Saved. Everything else happens in the background.",
    },
    "saved": {"de": "Gespeichert.", "es": "Guardado.", "en": "Saved."},
}


def language(request: Request) -> str:
    """The first of de, es, en in Accept-Language; de otherwise."""
    for part in request.headers.get("accept-language", "").split(","):
        code = part.split(";")[0].strip()[:2].lower()
        if code in ("de", "es", "en"):
            return code
    return "de"


def body(request: Request, data: Any, key: MessageKey, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"success": True, "data": data, "message": _MESSAGES[key][language(request)]}
    return answer if meta is None else {**answer, "meta": meta}


def answer(request: Request, data: Any, key: MessageKey, meta: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse(body(request, data, key, meta))

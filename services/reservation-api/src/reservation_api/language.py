"""What people read in an answer, in the language that they ask for. The product's first language is German."""

from typing import Literal

from llegada.events.types import Language

FIRST: Language = "de"

Text = Literal[
    "created",
    "created_in_background",
    "created_with_failure",
    "settings_saved",
    "validation",
    "bad_request",
    "unauthenticated",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "key_reused",
    "too_large",
    "not_json",
    "unavailable",
    "internal",
]

_TEXTS: dict[Text, tuple[str, str, str]] = {
    "created": (
        "Reservierung angelegt, der Gast ist benachrichtigt.",
        "Reserva creada; el huésped ya fue notificado.",
        "Reservation created, the guest has been notified.",
    ),
    "created_in_background": (
        "Reservierung angelegt. Zahlungslink und Nachricht entstehen im Hintergrund.",
        "Reserva creada. El enlace de pago y el mensaje se preparan en segundo plano.",
        "Reservation created. Payment link and message are being made in the background.",
    ),
    "created_with_failure": (
        "Reservierung angelegt, aber ein Schritt ist fehlgeschlagen; was zu tun ist, steht bei den Schritten.",
        "Reserva creada, pero un paso falló; los pasos indican qué hacer.",
        "Reservation created, but a step failed; the steps say what can be done.",
    ),
    "settings_saved": ("Einstellungen gespeichert.", "Configuración guardada.", "Settings saved."),
    "validation": ("Die Eingabe ist ungültig.", "Los datos no son válidos.", "The input is not valid."),
    "bad_request": (
        "Die Anfrage ist nicht lesbar.",
        "La solicitud no se puede leer.",
        "The request cannot be read.",
    ),
    "unauthenticated": (
        "Bitte melden Sie sich neu an.",
        "Inicie sesión de nuevo, por favor.",
        "Please sign in again.",
    ),
    "forbidden": ("Dazu fehlt Ihnen die Berechtigung.", "No tiene permiso para esto.", "You are not allowed to do this."),
    "not_found": ("Nicht gefunden.", "No encontrado.", "Not found."),
    "method_not_allowed": (
        "Diese Methode gibt es hier nicht.",
        "Este método no existe aquí.",
        "This method does not exist here.",
    ),
    "key_reused": (
        "Dieser Idempotency-Key steht schon für eine andere Anfrage.",
        "Esta Idempotency-Key ya corresponde a otra solicitud.",
        "This Idempotency-Key already stands for another request.",
    ),
    "too_large": ("Die Anfrage ist zu groß.", "La solicitud es demasiado grande.", "The request is too large."),
    "not_json": (
        "Der Inhalt muss JSON sein.",
        "El contenido debe ser JSON.",
        "The content must be JSON.",
    ),
    "unavailable": (
        "Vorübergehend nicht möglich. Bitte gleich noch einmal versuchen.",
        "No es posible por el momento. Inténtelo de nuevo en unos segundos.",
        "Not possible at the moment. Please try again in a few seconds.",
    ),
    "internal": (
        "Ein unerwarteter Fehler ist aufgetreten.",
        "Ocurrió un error inesperado.",
        "An unexpected error occurred.",
    ),
}
_ORDER: tuple[Language, ...] = ("de", "es", "en")


def say(text: Text, accept_language: str | None) -> str:
    return _TEXTS[text][_ORDER.index(preferred(accept_language))]


def preferred(accept_language: str | None) -> Language:
    """RFC 9110 §12.5.4: the known language with the highest weight, of equals the first; German where none is."""
    best: Language = FIRST
    highest = 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        weight = _weight(parameters)
        for language in _ORDER:
            if tag.strip().lower().split("-")[0] == language and weight > highest:
                best, highest = language, weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0

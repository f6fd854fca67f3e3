"""What a guest's message is answered with. Pure: keywords of the organization, or a person.

A smarter responder takes the place of `respond`: same question, same kinds of answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from llegada.events.guest import GuestMessageReceived
from llegada.events.organization import Reply
from llegada.events.types import Language

STOP = frozenset({"stop", "baja", "unsubscribe", "abmelden"})
START = frozenset({"start", "alta", "subscribe", "anmelden"})
_CONFIRMED: dict[bool, dict[Language, str]] = {
    True: {
        "es": "Ya no recibirás invitaciones. Escribe ALTA para volver a recibirlas.",
        "en": "You will receive no more invitations. Write START to receive them again.",
        "de": "Sie erhalten keine Einladungen mehr. Schreiben Sie START, um sie wieder zu erhalten.",
    },
    False: {
        "es": "Volverás a recibir nuestras invitaciones.",
        "en": "You will receive our invitations again.",
        "de": "Sie erhalten unsere Einladungen wieder.",
    },
}
_LANGUAGES: tuple[Language, ...] = ("es", "en", "de")


@dataclass(frozen=True)
class Answer:
    """`text` may hold names, as a Wording. `opt_out`: True: no more invitations, False: again, None: nothing said."""

    text: str
    keyword: str
    opt_out: bool | None = None


@dataclass(frozen=True)
class HandOver:
    """A person has to answer; `reason` for staff."""

    reason: str


def respond(message: GuestMessageReceived, language: Language, replies: Sequence[Reply]) -> Answer | HandOver:
    """The first rule of which a word stands in the message, whole and whatever its case and accents."""
    if message.text is None:
        return HandOver(f"the guest sent {message.media or 'something'} that is no text")
    words = plain(message.text)
    if words in STOP or words in START:
        opt_out = words in STOP
        return Answer(_CONFIRMED[opt_out][language], words, opt_out)
    for reply in replies:
        for keyword in reply.keywords:
            if re.search(rf"\b{re.escape(plain(keyword))}\b", words):
                text = next(reply.texts[code] for code in (language, *_LANGUAGES) if code in reply.texts)
                return Answer(text, keyword)
    return HandOver("no rule of the organization answers this message")


def plain(text: str) -> str:
    """`¿A qué HORA?` → `a que hora`."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in letters if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w\s]", " ", bare).split())

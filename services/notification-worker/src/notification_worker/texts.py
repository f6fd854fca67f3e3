"""A message's words: the product's own templates, or the organization's, filled in."""

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from llegada.events.notification import NotificationReady
from llegada.events.organization import Wording
from llegada.events.reservation import BookingEvent
from llegada.events.types import Language, Money
from llegada.messaging.failures import Permanent

DOOR_APP = "TTLock"


@dataclass(frozen=True)
class Texts:
    """`plain` for WhatsApp and the text part of an e-mail; `html` for its other part."""

    subject: str
    plain: str
    html: str


def written(event: NotificationReady, wording: Wording) -> Texts:
    """Raises Permanent where the organization's own text uses a name that does not exist."""
    values = {
        "guestName": event.guest_name,
        "propertyName": event.property_name,
        "amount": shown(event.amount, event.language),
        "checkInDate": shown_date(event.check_in_date.isoformat(), event.language),
        "checkOutDate": shown_date(event.check_out_date.isoformat(), event.language),
        "checkInLink": event.check_in_url,
        "paymentLink": event.payment_url,
        "doorCode": door_code(event),
        "roomNumber": event.room or "",
    }
    try:
        plain = _fill(event.custom_message or wording.text or _template(event.language, f"{event.kind}.txt"), values)
        subject = _fill(wording.email_subject or _template(event.language, f"{event.kind}.subject.txt"), values)
    except TemplateError as error:
        allowed = ", ".join(values)
        raise Permanent(
            f"the organization's text cannot be filled in: {error}. Allowed are {allowed}",
            code="wording",
            advice="Correct the text in the organization's settings.",
        ) from error
    html = _fill(_template(".", "frame.html"), {"lines": plain.splitlines(), "language": event.language}, html=True)
    return Texts(" ".join(subject.split()), plain.strip(), html)


def answered(text: str, name: str, about: BookingEvent | None, payment_url: str) -> str | None:
    """An organization's answer filled in; None where it names what only a booking has, and there is none."""
    values = {"guestName": name}
    if about is not None:
        values = {
            "guestName": about.guest_name,
            "propertyName": about.property_name,
            "checkInLink": about.check_in_url,
            "checkInDate": shown_date(about.check_in_date.isoformat(), about.language),
            "checkOutDate": shown_date(about.check_out_date.isoformat(), about.language),
            "paymentLink": payment_url,
        }
    try:
        return _fill(text, values).strip()
    except TemplateError:
        return None


def door_code(event: NotificationReady) -> str:
    """`482915`; where the locks have codes of their own, each with its lock: `Front door: 482915, 204: 77120`."""
    codes = {code.code for code in event.passcodes}
    if len(codes) <= 1:
        return "".join(codes)
    return ", ".join(f"{code.lock_name}: {code.code}" for code in event.passcodes)


def masked(text: str, event: NotificationReady) -> str:
    """What may be kept of a message: everything but the codes."""
    for code in event.passcodes:
        text = text.replace(code.code, "•" * len(code.code))
    return text


def template_name(event: NotificationReady) -> str:
    """WhatsApp's template for this message, unless the organization has its own; see `template_parameters`."""
    match event.kind:
        case "welcome" if event.passcodes:
            return "reservation_welcome" if event.payment_url else "reservation_welcome_paid"
        case "check_in_confirmation":
            return "reservation_checkin_confirmation" if event.passcodes else "reservation_checkin_welcome"
        case "pin":
            return "reservation_pin"
        case _:
            return "reservation_checkin_invitation" if event.payment_url else "reservation_checkin_reminder"


def template_parameters(event: NotificationReady) -> list[str]:
    """The parameters in the order of the template's body: no line breaks, tabs or runs of blanks, as WhatsApp wants."""
    name, code, where = event.guest_name, door_code(event), event.room or event.property_name
    match template_name(event):
        case "reservation_welcome":
            values = [name, event.check_in_url, event.payment_url, code]
        case "reservation_welcome_paid":
            values = [name, event.check_in_url, code]
        case "reservation_checkin_reminder":
            values = [name, event.check_in_url]
        case "reservation_checkin_confirmation":
            values = [name, where, event.property_name, code, DOOR_APP]
        case "reservation_checkin_welcome":
            values = [name, event.property_name, where]
        case "reservation_pin":
            values = [name, event.property_name, code]
        case _:
            values = [name, event.check_in_url, event.payment_url]
    return [" ".join(value.split()) for value in values]


def shown(amount: Money, language: Language) -> str:
    """`180.000 COP`; English groups with commas."""
    grouped = f"{amount.amount:,}"
    return f"{grouped if language == 'en' else grouped.replace(',', '.')} {amount.currency}"


def shown_date(iso: str, language: Language) -> str:
    """Day first, as guests here read it: `01/12/2026`, in German `01.12.2026`; English by ISO 8601."""
    year, month, day = iso.split("-")
    return {"es": f"{day}/{month}/{year}", "de": f"{day}.{month}.{year}", "en": iso}[language]


def _fill(template: str, values: dict[str, Any], *, html: bool = False) -> str:
    return _compiled(template, html).render(values)


@lru_cache(maxsize=256)  # compiling costs a hundred times what filling in does
def _compiled(template: str, html: bool) -> Template:  # noqa: FBT001 - a key of the cache
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=html, trim_blocks=True)
    return environment.from_string(template)


@cache
def _template(language: str, name: str) -> str:
    return (files("notification_worker") / "templates" / language / name).read_text("utf-8")

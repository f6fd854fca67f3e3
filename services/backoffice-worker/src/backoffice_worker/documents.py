"""An event as the data of its document: words in the reader's language, dates, hours and money as it writes them. Pure.

The typesetter would print a hollow box for a letter that its fonts lack, and nobody would notice before the client
does. So what it cannot print is refused here, and named.
"""

import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from backoffice_worker.statements import Grouped
from backoffice_worker.words import COUNTED, MONTHS, SEPARATORS, WORDS
from llegada.events.person import DocumentRequested
from llegada.events.statement import MINOR_UNITS, BillingCurrency, StatementRequested
from llegada.events.types import Language
from llegada.messaging.failures import Permanent

_PRINTABLE = (
    range(0x20, 0x7F),  # ASCII
    range(0xA0, 0x180),  # Latin-1, Latin Extended-A: western, central and northern Europe
    range(0x218, 0x21C),  # Romanian
    range(0x391, 0x3CF),  # Greek
    range(0x400, 0x460),  # Cyrillic
    range(0x1E80, 0x1E86),  # Welsh
    range(0x2013, 0x2015),
    range(0x2018, 0x201F),
    range(0x2020, 0x2023),
    range(0x2026, 0x2027),
    range(0x20AC, 0x20AD),  # €
    range(0x2116, 0x2117),  # №
    range(0x2122, 0x2123),  # ™
)
"""What the typesetter's own text face (Libertinus Serif) has, as far as names need it."""


def statement_data(event: StatementRequested, grouped: Grouped) -> dict[str, Any]:
    """Raises Permanent, and names the letters, where a name cannot be printed."""
    language, currency = event.language, event.currency
    priced = grouped.amount is not None
    lines = [
        [
            line.client_name,
            str(line.consultations),
            hours(line.minutes),
            money(line.amount, currency, language) if priced else "",
        ]
        for line in grouped.lines
    ]
    words = WORDS[language]
    carried = grouped.carried_minutes
    rate = money(event.hourly_rate, currency, language)
    data = {
        **_frame(event.issued_on, language),
        "number": event.number if event.edition == 1 else f"{event.number} · {words['edition']} {event.edition}",
        "consultant": event.consultant,
        "issuer": event.issuer,
        "recipient": event.recipient,
        "period": f"{day(event.period_start, language)} – {day(event.period_end, language)}",
        "issued_on": day(event.issued_on, language),
        "priced": priced,
        "rate": f"{rate} {currency}" if priced else "",
        "currency": currency,
        "lines": lines,
        "clients": _count("client", len(lines), language),
        "consultations": str(grouped.consultations),
        "hours": hours(grouped.minutes),
        "total": money(grouped.amount, currency, language) if priced else "",
        "carried": words["carried"].format(hours=hours(carried)) if carried else "",
    }
    return checked(data)


def document_data(event: DocumentRequested) -> dict[str, Any]:
    """A certificate or a contract."""
    language, job = event.language, event.employment
    words = WORDS[language]
    salary = "" if job.salary is None else f"{money(job.salary.amount, 'COP', language)} {job.salary.currency}"
    ended = event.exit_on or (job.ends_on if job.ends_on is not None and job.ends_on < event.issued_on else None)
    data = {
        **_frame(event.issued_on, language),
        "employer": event.employer,
        "name": event.name,
        "document_number": job.document_number or "",
        "position": job.position,
        "contract_type": words[f"type_{job.contract_type}"],
        "starts_on": long_day(job.starts_on, language),
        "ends_on": "" if (until := ended or job.ends_on) is None else long_day(until, language),
        "ended": ended is not None,
        "salary": salary,
        "issued_on": long_day(event.issued_on, language),
    }
    return checked(data)


def checked(data: dict[str, Any]) -> dict[str, Any]:
    """The data, letters composed (NFC). Raises Permanent for a letter that would be printed as a hollow box."""
    wrong = {letter for text in _texts(data) for letter in _composed(text) if not _printable(letter)}
    if wrong:
        named = ", ".join(f"{letter!r} (U+{ord(letter):04X})" for letter in sorted(wrong)[:5])
        where = next(text for text in _texts(data) if not wrong.isdisjoint(_composed(text)))
        raise Permanent(
            f"the document's typeface has no letter for {named} in {where[:80]!r}",
            code="letters",
            advice="Write the name in Latin, Greek or Cyrillic letters, and make the document again.",
        )
    return {key: _mapped(value) for key, value in data.items()}


def hours(minutes: int) -> str:
    """90 → `1:30`."""
    return f"{minutes // 60}:{minutes % 60:02}"


def money(amount: int | None, currency: BillingCurrency, language: Language) -> str:
    """123456 minor units → `1.234,56` in German and Spanish, `1,234.56` in English."""
    if amount is None:
        return ""
    places = MINOR_UNITS[currency]
    whole, rest = divmod(abs(amount), 10**places)
    thousand, point = SEPARATORS[language]
    written = f"{whole:,}".replace(",", thousand) + (f"{point}{rest:0{places}}" if places else "")
    return f"-{written}" if amount < 0 else written


def day(value: date, language: Language) -> str:
    pattern = {"de": "%d.%m.%Y", "es": "%d/%m/%Y", "en": "%d %b %Y"}[language]
    if language == "en":  # the process's locale is nobody's promise
        return f"{value.day} {MONTHS['en'][value.month - 1]} {value.year}"
    return value.strftime(pattern)


def long_day(value: date, language: Language) -> str:
    month = MONTHS[language][value.month - 1]
    pattern = {"de": "{day}. {month} {year}", "es": "{day} de {month} de {year}", "en": "{day} {month} {year}"}
    return pattern[language].format(day=value.day, month=month, year=value.year)


def _frame(issued_on: date, language: Language) -> dict[str, Any]:
    at = datetime(issued_on.year, issued_on.month, issued_on.day, tzinfo=UTC)
    return {"issued_at": int(at.timestamp()), "language": language, "words": WORDS[language]}


def _count(what: str, number: int, language: Language) -> str:
    one, many = COUNTED[language][what]
    return f"{number} {one if number == 1 else many}"


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _printable(letter: str) -> bool:
    return any(ord(letter) in some for some in _PRINTABLE)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value)


def _mapped(data: Any) -> Any:
    if isinstance(data, str):
        return _composed(data)
    if isinstance(data, dict):
        return {key: _mapped(value) for key, value in data.items()}
    return [_mapped(value) for value in data] if isinstance(data, list) else data

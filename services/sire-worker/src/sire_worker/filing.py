"""SIRE's official file: 13 columns, tab-separated, no header; validated guest by guest before anything is filed. Pure.

There is no public API: staff upload the file to the portal. Upper case, letters without accents (Ñ is N), CRLF between
rows, none after the last: what every description of the format accepts. Source: the official guide's column list as
two independent generators write it.
"""

import csv
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

from llegada.events.sire import FilingRow, Movement
from llegada.events.types import Guest

COLOMBIA = "CO"
_HERE = 169
_DOCUMENTS = {"passport": "3", "foreigner_id": "5", "diplomatic": "46", "foreign_document": "10", "ppt": "52"}
_LETTER = {"entry": "E", "exit": "S"}
_OLDEST = 120
_LONGEST = {"document_number": 20, "first_surname": 50, "second_surname": 50, "first_names": 60}


@dataclass(frozen=True)
class Property:
    """As SIRE knows it: the hotel's code, and its city by DIVIPOLA without leading zero."""

    hotel_code: str
    city_code: str


@dataclass(frozen=True)
class Checked:
    """What is wrong, guest by guest, in plain words; the rows, if nothing is. Colombians are not reported."""

    rows: tuple[FilingRow, ...]
    mistakes: tuple[str, ...]


def check(guests: Sequence[Guest], movement: Movement, moved_on: date, at: Property) -> Checked:
    """Every mistake of every guest at once; with a single one no guest of the booking is filed."""
    rows, mistakes = [], []
    if not guests:
        mistakes.append("the booking has no guest with a document")
    for number, guest in enumerate(guests, start=1):
        if guest.nationality == COLOMBIA:
            continue
        wrong = _mistakes(guest, moved_on)
        if wrong:
            mistakes.append(f"guest {number}: {'; '.join(wrong)}")
        else:
            rows.append(_row(guest, movement, moved_on, at))
    return Checked(() if mistakes else tuple(rows), tuple(mistakes))


def _mistakes(guest: Guest, moved_on: date) -> list[str]:
    return [*_of_document(guest), *_of_name(guest), *_of_birth(guest, moved_on), *_of_places(guest), *_too_long(guest)]


def _of_document(guest: Guest) -> Iterator[str]:
    if guest.nationality is None:
        yield "the nationality is missing (two letters, like DE; CO is not reported)"
    elif guest.nationality not in _countries():
        yield f"SIRE knows no nationality {guest.nationality} (two letters of ISO 3166-1, like DE)"
    if guest.document_type is None:
        yield f"the document type is missing (one of {', '.join(_DOCUMENTS)})"
    number = _plain(guest.document_number).replace("-", "")
    if not (number.isalnum() and number.isascii()):
        yield "the document number is missing (letters and digits)"


def _of_name(guest: Guest) -> Iterator[str]:
    known = {"first surname": guest.first_surname, "first names": guest.first_names}
    if guest.second_surname:
        known["second surname"] = guest.second_surname
    for words, value in known.items():
        if not _letters(value):
            yield f"the {words} must have letters, and nothing but letters and blanks"


def _of_birth(guest: Guest, moved_on: date) -> Iterator[str]:
    oldest = moved_on.replace(year=moved_on.year - _OLDEST, day=min(moved_on.day, 28))
    if guest.birth_date is None:
        yield "the birth date is missing"
    elif not oldest < guest.birth_date <= moved_on:
        yield f"the birth date {guest.birth_date} is impossible"


def _of_places(guest: Guest) -> Iterator[str]:
    for words, place in (("origin", guest.origin), ("destination", guest.destination)):
        if place is not None and _place(place) is None:
            yield f"SIRE knows no {words} {place} (a country like DE, or a city's DIVIPOLA code)"


def _too_long(guest: Guest) -> Iterator[str]:
    for field, most in _LONGEST.items():
        if len(getattr(guest, field) or "") > most:
            yield f"the {field.replace('_', ' ')} may have {most} characters at most"


def _row(guest: Guest, movement: Movement, moved_on: date, at: Property) -> FilingRow:
    """Where the guest came from and goes to falls back to the nationality and to Colombia, as is customary."""
    assert guest.nationality is not None  # `check` has looked
    assert guest.document_type is not None
    assert guest.birth_date is not None
    nationality = _countries()[guest.nationality]
    number, letter = _plain(guest.document_number).replace("-", ""), _LETTER[movement]
    columns = (
        at.hotel_code,
        at.city_code,
        _DOCUMENTS[guest.document_type],
        number,
        str(nationality),
        *(_name(value) for value in (guest.first_surname, guest.second_surname, guest.first_names)),
        letter,
        _day(moved_on),
        _place(guest.origin) or str(nationality),
        _place(guest.destination) or str(_HERE),
        _day(guest.birth_date),
    )
    key = f"{_DOCUMENTS[guest.document_type]}|{number}|{moved_on.isoformat()}|{letter}"
    return FilingRow(key=key, line="\t".join(columns))


def _place(value: str | None) -> str | None:
    """A country's code, or a city's without leading zero."""
    if value is None:
        return None
    if value.isdigit():
        return value.lstrip("0") or None
    found = _countries().get(value)
    return None if found is None else str(found)


def _plain(value: str | None) -> str:
    """`Peña  Núñez` → `PENA NUNEZ`."""
    letters = unicodedata.normalize("NFKD", (value or "").replace("ß", "SS")).upper()
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())


def _name(value: str | None) -> str:
    """`O'Brien-Smith` → `OBRIEN SMITH`: letters and blanks."""
    return " ".join(_plain(value).replace("'", "").replace("-", " ").split())


def _letters(value: str | None) -> bool:
    letters = _name(value).replace(" ", "")
    return letters.isalpha() and letters.isascii()


def _day(value: date) -> str:
    return value.strftime("%d/%m/%Y")


@cache
def _countries() -> dict[str, int]:
    """ISO 3166-1 alpha-2 (and XK) → SIRE's own country code."""
    text = (files("sire_worker") / "codes" / "countries.csv").read_text("utf-8")
    return {row["iso"]: int(row["sire"]) for row in csv.DictReader(text.splitlines())}

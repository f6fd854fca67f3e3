"""The official file, byte by byte; and every malformed guest told apart from every other."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from llegada.events.sire import file_content
from llegada.events.types import Guest
from sire_worker.filing import Property, check

AT = Property("12345", "5001")
DAY = date(2026, 11, 23)
GOOD: dict[str, Any] = {
    "nationality": "US",
    "document_type": "passport",
    "document_number": "AB123456",
    "first_surname": "Smith",
    "first_names": "John Paul",
    "birth_date": date(1990, 2, 1),
    "origin": "US",
    "destination": "05001",
}


def guest(**changes: Any) -> Guest:
    return Guest.model_construct(**{**Guest().model_dump(), **GOOD, **changes})


def test_the_file_of_a_property_is_the_expected_one_byte_by_byte() -> None:
    guests = [
        guest(),
        guest(
            nationality="DE",
            document_number="C01X-00T47",
            first_surname="Müller-Weiß",
            second_surname="D'Arc",
            first_names="Zoë",
            birth_date=date(2015, 12, 31),
            origin=None,
            destination=None,
        ),
        guest(nationality="CO", document_type="passport"),
        guest(
            nationality="ES", document_type="foreigner_id", first_surname="Peña", second_surname="Núñez", origin="11001"
        ),
    ]
    entry, leave = check(guests, "entry", DAY, AT), check(guests[:1], "exit", date(2026, 11, 25), AT)
    assert entry.mistakes == leave.mistakes == ()
    made = file_content([row.line for row in (*entry.rows, *leave.rows)])
    assert made == (Path(__file__).parent / "expected.txt").read_bytes()


def test_each_movement_of_each_document_has_one_key() -> None:
    entry, leave = check([guest()], "entry", DAY, AT), check([guest()], "exit", DAY, AT)
    assert {row.key for row in (*entry.rows, *leave.rows)} == {"3|AB123456|2026-11-23|E", "3|AB123456|2026-11-23|S"}


def test_colombians_are_not_reported_minors_are_and_the_unknown_block() -> None:
    assert check([guest(nationality="CO")], "entry", DAY, AT).rows == ()
    assert len(check([guest(birth_date=date(2025, 1, 1))], "entry", DAY, AT).rows) == 1
    unknown = check([guest(), guest(nationality=None)], "entry", DAY, AT)
    assert unknown.rows == ()
    assert unknown.mistakes[0].startswith("guest 2: the nationality is missing")
    assert check([], "entry", DAY, AT).mistakes


_WRONG: list[tuple[str, list[Any]]] = [
    ("nationality", [None, "ZZ", "QQ", "XX", "AAA", "de", "1", "", "EU", "UK"]),
    ("document_type", [None]),
    ("document_number", [None, "", "-", "--", "¿?", "AB 12#", "A" * 21, "1" * 30, "ÑÑ/1", "Ω12"]),
    ("first_surname", [None, "", " ", "123", "Sm1th", "Smith!", "A" * 51, "李", "@", "-"]),
    ("first_names", [None, "", " ", "123", "J0hn", "John_Paul", "A" * 61, "Иван", "/", "'"]),
    ("second_surname", [" ", "123", "N0", "Ruiz?", "B" * 51, "田", "#", "--", "1", "a;b"]),
    ("birth_date", [None, date(2026, 11, 24), date(2030, 1, 1), date(1906, 11, 22), date(1800, 1, 1)]),
    ("origin", ["ZZ", "00", "XX", "QQ", "AAA"]),
    ("destination", ["ZZ", "00", "XX", "QQ", "AAA"]),
]
_SINGLE = [{field: value} for field, values in _WRONG for value in values]
_PAIRS = [{**one, **other} for n, one in enumerate(_SINGLE) for other in _SINGLE[n + 1 :: 9] if set(one) != set(other)]
MALFORMED = [*_SINGLE, *_PAIRS][:200]


@pytest.mark.parametrize("wrong", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_guest_gives_a_clear_error_and_no_row(wrong: dict[str, Any]) -> None:
    checked = check([guest(), guest(**wrong)], "entry", DAY, AT)
    assert checked.rows == ()
    (said,) = checked.mistakes
    assert said.startswith("guest 2: ")
    for field in wrong:
        assert field.replace("_", " ").removeprefix("guest ").split()[-1].rstrip("s") in said


def test_there_are_two_hundred_of_them() -> None:
    assert len(MALFORMED) == 200

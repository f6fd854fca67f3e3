"""Between two releases a schema only grows: the previous release's processes work on it, during the upgrade and after a
rollback. What it no longer needs goes one release later.
"""

import re

import pytest
from tests.upgrade.previous import NoPreviousRelease, files_of, revision

from llegada_dev.cluster import ROOT

_TAKES_AWAY = re.compile(
    r"""
    \bdrop\s+(table|column|schema|view|type|function|sequence)\b
    | \balter\s+table\s+(?:if\s+exists\s+)?\w+\s+drop\b(?!\s+(constraint|not))
    | \balter\s+column\s+\w+\s+(?:set\s+data\s+)?type\b
    | \brename\b
    | \bset\s+not\s+null\b
    | \badd\s+(?:column\s+)?(?:if\s+not\s+exists\s+)?(?!constraint\b)\w+\s(?=[^,;]*\bnot\s+null\b)(?![^,;]*\bdefault\b)
    | \bop\.(drop_|alter_column|rename_)
    | \brevoke\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
ALLOWED: dict[str, str] = {}
"""By path: why a migration may take something away all the same. Emptied when the previous release moves."""


def taken_away(text: str) -> str | None:
    """The words of a migration that an older process may stumble over."""
    found = _TAKES_AWAY.search(text)
    return found.group(0) if found else None


@pytest.mark.parametrize(
    ("statement", "is_taken"),
    [
        ("alter table bookings drop column phone", True),
        ("alter table bookings rename column phone to number", True),
        ("alter table bookings alter column phone type bigint", True),
        ("alter table bookings alter column phone set not null", True),
        ("alter table bookings add column zone text not null", True),
        ("drop table bookings", True),
        ("revoke insert on bookings from llegada_app", True),
        ("alter table bookings add column zone text", False),
        ("alter table bookings add column zone text not null default 'UTC'", False),
        ("alter table bookings add column zone text default 'UTC' not null", False),
        ("create table zones (name text not null)", False),
        ("create index bookings_zone on bookings (zone)", False),
        ("alter table bookings drop constraint bookings_state_check", False),
    ],
)
def test_what_takes_something_away_is_recognized(statement: str, *, is_taken: bool) -> None:
    assert (taken_away(statement) is not None) == is_taken


def migrations() -> tuple[dict[str, str], dict[str, str]]:
    """The previous release's, and this one's."""
    try:
        before = files_of(revision(), "migrations")
    except NoPreviousRelease as reason:
        pytest.skip(str(reason))
    paths = [*ROOT.glob("shared/src/**/migrations/*.py"), *ROOT.glob("services/*/src/**/migrations/*.py")]
    return before, {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def test_migrations_of_the_previous_release_are_as_they_were() -> None:
    before, now = migrations()
    kept = {path: text for path, text in before.items() if path.startswith(("shared/src", "services/"))}
    assert len(kept) > 10
    assert [path for path, text in kept.items() if now.get(path, "").rstrip() != text.rstrip()] == []


def test_new_migrations_take_nothing_away_from_the_previous_release() -> None:
    before, now = migrations()
    new = {path: text for path, text in now.items() if path not in before and path not in ALLOWED}
    assert {path: words for path, text in new.items() if (words := taken_away(text))} == {}

"""What a document says, and that it is set: pure functions, and the real typesetter in its own process."""

import asyncio
import os
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from backoffice_worker.documents import hours, money, statement_data
from backoffice_worker.rendering import Rendered, Typesetter
from backoffice_worker.statements import group
from llegada.events.statement import StatementRequested, WorkEntry
from llegada.messaging.failures import Permanent, Transient


def entry(client: str, minutes: int, **more: Any) -> WorkEntry:
    known = {"client_id": client, "client_name": client.title(), "on": date(2026, 11, 3), "minutes": minutes}
    return WorkEntry.model_validate({**known, **more})


def requested(entries: Sequence[WorkEntry], **changes: Any) -> StatementRequested:
    known = {
        "organization_id": 1,
        "statement_id": 5,
        "number": "MR-202611-007",
        "consultant": "Erika Muster",
        "issuer": "Hostal",
        "recipient": "Buchhaltung",
        "period_start": date(2026, 10, 25),
        "period_end": date(2026, 11, 24),
        "issued_on": date(2026, 11, 25),
        "hourly_rate": 15_000,
        "entries": entries,
    }
    return StatementRequested.model_validate({**known, **changes})


async def render(event: StatementRequested) -> Rendered:
    grouped = group(event.entries, event.hourly_rate, event.period_start)
    return await Typesetter(1).render("statement", statement_data(event, grouped))


def test_work_is_grouped_per_client_with_hours_consultations_and_amounts() -> None:
    work = [
        entry("zoo", 50),
        entry("alpha", 30, kind="consultation"),
        entry("alpha", 15, on=date(2026, 11, 9), client_name="Alpha AG"),
        entry("alpha", 5, on=date(2026, 10, 1), client_name="Alt"),
    ]
    grouped = group(work, 100_00, date(2026, 10, 25))
    assert [(line.client_name, line.minutes, line.consultations, line.amount) for line in grouped.lines] == [
        ("Alpha AG", 50, 1, 8333),
        ("Zoo", 50, 0, 8333),
    ]
    assert (grouped.minutes, grouped.consultations, grouped.carried_minutes, grouped.amount) == (100, 1, 5, 16_666)
    assert group(work, None, date(2026, 10, 25)).amount is None


def test_half_a_minor_unit_is_rounded_up() -> None:
    assert group([entry("a", 1)], 30, date(2026, 10, 25)).amount == 1
    assert group([entry("a", 1)], 29, date(2026, 10, 25)).amount == 0


def test_money_and_hours_are_written_as_the_reader_writes_them() -> None:
    assert money(123_456_789, "CHF", "de") == "1.234.567,89"
    assert money(123_456_789, "CHF", "en") == "1,234,567.89"
    assert money(2_500_000, "COP", "es") == "2.500.000"
    assert hours(61) == "1:01"


@pytest.mark.parametrize("language", ["de", "en", "es"])
async def test_five_hundred_clients_are_set_over_many_pages_in_every_language(language: str) -> None:
    event = requested([entry(f"client {n:03}", 15 + n) for n in range(500)], language=language)
    rendered = await render(event)
    assert rendered.content.startswith(b"%PDF-")
    assert 10 <= rendered.pages <= 14


async def test_the_same_statement_has_the_same_bytes() -> None:
    event = requested([entry("alpha", 15)])
    assert (await render(event)).content == (await render(event)).content


async def test_what_looks_like_the_typesetters_language_is_only_text() -> None:
    rendered = await render(requested([entry("a", 15, client_name='#panic("x") *_$ @ref <label> \\ //')]))
    assert rendered.pages == 1


@pytest.mark.parametrize("name", ["漢字 AG", "Smile 😀", "Line\nbreak", "\x00"])
async def test_a_letter_that_cannot_be_printed_is_refused_and_named(name: str) -> None:
    with pytest.raises(Permanent, match=r"U\+") as refused:
        await render(requested([entry("a", 15, client_name=name)]))
    assert refused.value.advice


async def test_letters_are_composed_before_they_are_judged() -> None:
    rendered = await render(requested([entry("a", 15, client_name="Cafe\u0301 Łódź Жук Ñandú")]))
    assert rendered.pages == 1


async def test_data_that_the_template_does_not_know_are_refused_for_good() -> None:
    with pytest.raises(Permanent, match="cannot be set"):
        await Typesetter(1).render("statement", {"issued_at": 0, "language": "de", "words": {}})


async def test_a_typesetter_that_takes_too_long_is_ended_and_tried_again_later() -> None:
    event = requested([entry(f"client {n}", 15) for n in range(500)])
    data = statement_data(event, group(event.entries, None, event.period_start))
    with pytest.raises(Transient, match="not set within"):
        await Typesetter(1, seconds=0.001).render("statement", data)
    assert not [child for child in await asyncio.to_thread(_children) if "typesetter" in child]


def _children() -> list[str]:
    mine = f"/proc/self/task/{os.getpid()}/children"
    with open(mine) as listed:  # noqa: PTH123 - procfs
        numbers = listed.read().split()
    found = []
    for number in numbers:
        try:
            with open(f"/proc/{number}/cmdline") as line:  # noqa: PTH123 - procfs
                found.append(line.read())
        except FileNotFoundError:  # it ended meanwhile
            continue
    return found

"""What a statement says: work grouped per client, with hours, consultations and amounts. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from llegada.events.statement import StatementLine, WorkEntry

_HOUR = 60


@dataclass(frozen=True)
class Grouped:
    """`carried_minutes`: of the minutes, those of work before the period, which was imported late."""

    lines: tuple[StatementLine, ...]
    minutes: int
    consultations: int
    carried_minutes: int
    amount: int | None


def group(entries: Sequence[WorkEntry], hourly_rate: int | None, period_start: date) -> Grouped:
    """One line per client, by name. A client is called what its newest entry calls it.

    Each line is rounded to the minor unit, half up; the total is the sum of what the reader sees.
    """
    per_client: dict[str, list[WorkEntry]] = defaultdict(list)
    for entry in entries:
        per_client[entry.client_id].append(entry)
    lines = [_line(client, work, hourly_rate) for client, work in per_client.items()]
    lines.sort(key=lambda line: (line.client_name.casefold(), line.client_id))
    return Grouped(
        lines=tuple(lines),
        minutes=sum(line.minutes for line in lines),
        consultations=sum(line.consultations for line in lines),
        carried_minutes=sum(entry.minutes for entry in entries if entry.on < period_start),
        amount=None if hourly_rate is None else _total(line.amount for line in lines),
    )


def _line(client_id: str, work: Sequence[WorkEntry], hourly_rate: int | None) -> StatementLine:
    minutes = sum(entry.minutes for entry in work)
    return StatementLine(
        client_id=client_id,
        client_name=max(work, key=lambda entry: (entry.on, entry.client_name)).client_name,
        minutes=minutes,
        consultations=sum(entry.kind == "consultation" for entry in work),
        amount=None if hourly_rate is None else (2 * minutes * hourly_rate + _HOUR) // (2 * _HOUR),
    )


def _total(amounts: Iterable[int | None]) -> int:
    return sum(amount for amount in amounts if amount is not None)

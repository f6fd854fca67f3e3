"""docs/reliability.json, which adds up over runs, and the page that is written from it."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

from tests.crash.result import Result

from llegada_dev.cluster import ROOT

STORE, PAGE = ROOT / "docs" / "reliability.json", ROOT / "docs" / "reliability.md"
_SUMS = ("messages", "kills", "lost", "doubled", "doubled_after_logged_unknown", "unknown_outcomes", "orphan_links")


@dataclass(frozen=True)
class Run:
    """One campaign. A message is one accepted effect: a reservation's link, its WhatsApp message."""

    messages: int
    kills: int
    lost: int
    doubled: int
    doubled_after_logged_unknown: int
    unknown_outcomes: int
    orphan_links: int
    broker: str
    seed: int | None = None
    points: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, result: Result, broker: str, *, points: list[str], seed: int | None) -> Self:
        return cls(
            messages=2 * result.reservations,
            kills=result.kills,
            lost=result.lost,
            doubled=result.doubled,
            doubled_after_logged_unknown=min(result.doubled_messages, result.unknown_messages),
            unknown_outcomes=result.unknown_messages + result.unknown_links,
            orphan_links=result.orphan_links,
            broker=broker,
            seed=seed,
            points=points,
        )


def write(run: Run) -> None:
    """Add a run that has ended; one that is cut off adds nothing."""
    known: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    total = {name: known.get(name, 0) + getattr(run, name) for name in _SUMS}
    points = sorted({*known.get("crash_point_names", []), *run.points})
    seeds = [*known.get("seeds", []), *([] if run.seed is None else [run.seed])]
    brokers = sorted({*known.get("brokers", []), run.broker})
    new = {
        **total, "crash_points": len(points), "seeds": seeds, "brokers": brokers, "crash_point_names": points,
        "runs": known.get("runs", 0) + 1,
    }  # fmt: skip
    STORE.write_text(json.dumps(new, indent=2) + "\n")
    PAGE.write_text(page(new))


def page(total: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, total["seeds"])) or "none yet"
    brokers = ", ".join(total["brokers"])
    rows = [f"| {name.replace('_', ' ')} | {total[name]:,} |" for name in (*_SUMS, "crash_points", "runs")]
    return "\n".join(
        [
            "# Reliability",
            "",
            "Written by `make test-crash` and `make test-crash-points` with `ARGS=--write`; adds up over runs",
            "(`reliability.json`). A message is one accepted effect; the sandbox's ledger is the judge.",
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
            f"Brokers: RabbitMQ {brokers}. Seeds of the random campaigns: {seeds}.",
            "",
            "`doubled after logged unknown`: a process died between the call and our commit, and WhatsApp told nothing",
            "within the grace time; never more than `unknown outcomes`. `orphan links` are never shown, and expire.",
            "",
            "## Points at which a process was ended",
            "",
            *(f"- `{name}`" for name in total["crash_point_names"]),
            "",
        ]
    )

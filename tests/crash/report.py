"""docs/reliability.json, which adds up over runs, and the page that is written from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.crash.result import Result

from llegada_dev.cluster import ROOT

STORE, PAGE = ROOT / "docs" / "reliability.json", ROOT / "docs" / "reliability.md"
_SUMS = (
    "messages", "deliveries", "lost", "doubled", "doubled_after_logged_unknown", "unknown_outcomes", "orphan_links",
    "handled_twice",
    "kills", "stops", "broker_restarts", "database_restarts", "cuts", "delays", "duplicates",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run that has ended, at rest, and been judged. A message is one accepted effect: a reservation's link, its
    WhatsApp message. `tally`: what was done to the system meanwhile.
    """

    result: Result
    tally: Mapping[str, int]
    broker: str
    seed: int | None = None
    points: Sequence[str] = ()

    def sums(self) -> dict[str, int]:
        """What adds up over runs."""
        result = self.result
        judged = {
            "messages": 2 * result.reservations,
            "deliveries": result.handled,
            "lost": result.lost,
            "doubled": result.doubled,
            "doubled_after_logged_unknown": result.explained_messages,
            "unknown_outcomes": result.unknown,
            "orphan_links": result.orphan_links,
            "handled_twice": result.handled_twice,
        }
        return {name: judged.get(name, self.tally.get(name, 0)) for name in _SUMS}


def write(run: Run) -> None:
    """Add a run that has ended; one that is cut off adds nothing."""
    known: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    total = {name: known.get(name, 0) + count for name, count in run.sums().items()}
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
            "Written by `make test-crash` and `make test-crash-points` with `--write` in `ARGS`; adds up over runs",
            "(`reliability.json`). A message is one accepted effect; the sandbox's ledger is the judge.",
            "A delivery is an event that changed a subscriber's state: it must do so once at each that hears its type.",
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
            f"Brokers: RabbitMQ {brokers}. Seeds of the random campaigns: {seeds}.",
            "",
            "`doubled`: more than one for what was accepted, without a logged unknown outcome of that very effect;",
            "`handled twice`: state changes that one message made more than once (part of `doubled`).",
            "`doubled after logged unknown`: a process died between the call and our commit, and WhatsApp told nothing",
            "within the grace time; never more than `unknown outcomes`. `orphan links` are never shown, and expire.",
            "",
            "## Points at which a process was ended",
            "",
            *(f"- `{name}`" for name in total["crash_point_names"]),
            "",
        ]
    )

"""A process is ended exactly at each named point of the paths of a message, and everything must come out all the same.

    python -m tests.crash.points [--only POINT …] [--reservations 5] [--short] [--write]

Per point: reservations are made while one service ends itself there (SIGKILL), it is started again, and the sandbox's
ledger is compared with what was accepted. At some points it is stopped instead (SIGSTOP) and resumed once another
replica has done its work, or the broker is killed. `--write` adds the run to docs/reliability.json and writes
docs/reliability.md.
"""

import argparse
import sys
import time

from tests.crash.harness import NOTIFICATION, PAYMENT, Harness, Point, staged
from tests.crash.report import Run, write

from llegada_dev.cluster import API
from llegada_dev.infrastructure import say

_STATE = ("before_inbox", "after_inbox", "after_handler", "before_commit", "after_commit")
_RELAY = ("before_claim", "after_claim", "between_write_and_confirm", "after_confirm", "after_delete", "after_commit")
_EFFECT = (
    "after_slot", "before_claim", "after_claim", "before_call", "during_call", "after_call", "after_settle",
)  # fmt: skip

POINTS = (
    *(Point(API, f"request.{at}") for at in ("after_key", "before_store", "before_commit", "after_commit")),
    *(Point(API, f"relay.{at}") for at in _RELAY),
    *(Point(API, f"state.{at}") for at in _STATE),
    *(Point(NOTIFICATION, f"state.{at}") for at in (*_STATE, "after_outbox")),
    Point(NOTIFICATION, "delivery.before"),
    Point(NOTIFICATION, "delivery.after_ack"),
    *(Point(PAYMENT, f"effect.{at}") for at in _EFFECT),
    *(Point(NOTIFICATION, f"effect.{at}") for at in _EFFECT),
    Point(PAYMENT, "retry.before_settle", "retry"),
    Point(PAYMENT, "retry.after_settle", "retry"),
    Point(PAYMENT, "relay.after_confirm", "retry"),
    Point(PAYMENT, "dead.before_settle", "dead", replayed=True),
    Point(PAYMENT, "dead.after_settle", "dead", replayed=True),
    Point(API, "dead_letter.before_store", "dead", replayed=True),
    Point(API, "dead_letter.after_store", "dead", replayed=True),
    Point(API, "replay.before_send", "dead", replayed=True),
    Point(API, "replay.after_send", "dead", replayed=True),
    Point(PAYMENT, "effect.before_call", how="stop"),
    Point(NOTIFICATION, "effect.before_call", how="stop"),
    Point(NOTIFICATION, "effect.after_call", how="stop"),
    Point(API, "relay.between_write_and_confirm", how="broker"),
)
SHORT = {
    (API, "request.before_commit"), (API, "relay.after_confirm"), (API, "state.after_commit"),
    (NOTIFICATION, "state.before_commit"), (PAYMENT, "effect.during_call"), (NOTIFICATION, "effect.after_call"),
    (PAYMENT, "retry.after_settle"), (API, "dead_letter.after_store"),
}  # fmt: skip


def campaign(harness: Harness, points: list[Point]) -> list[str]:
    """Every point, one after the other; those after which something did not come out."""
    failed = []
    for point in points:
        started = time.monotonic()
        try:
            harness.run(point)
            harness.come_out(point)
        except AssertionError as error:
            failed.append(str(point))
            say(f"FAILED {error}")
        else:
            say(f"{point}: {time.monotonic() - started:.1f} s")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="POINT", help="names, for instance effect.after_call")
    parser.add_argument("--how", choices=["kill", "stop", "broker"], help="only those points")
    parser.add_argument("--reservations", type=int, default=5, help="per point")
    parser.add_argument("--patience", type=float, default=90, help="seconds until a point counts as stuck")
    parser.add_argument("--short", action="store_true", help="one point of each path")
    parser.add_argument("--write", action="store_true", help="add the run to docs/reliability.json and .md")
    chosen = parser.parse_args()
    points = [p for p in POINTS if (not chosen.only or p.name in chosen.only) and chosen.how in (None, p.how)]
    points = [p for p in points if not chosen.short or (p.service, p.name) in SHORT]
    with staged(chosen.reservations, chosen.patience) as harness:
        failed = campaign(harness, points)
        result = harness.judged()
        version = harness.broker_version()
    print(f"points {len(points)}, {dict(harness.tally)}, stuck {failed}, {result}")
    if chosen.write and not failed:
        write(Run(result, harness.tally, version, points=[str(point) for point in points]))
    return 1 if result.lost or result.doubled or failed else 0


if __name__ == "__main__":
    sys.exit(main())

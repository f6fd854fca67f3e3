"""Bugs are planted, one after the other, each in a system of its own; the harness must find every one of them.

    python -m tests.crash.plants [--only PLANT …]

Each plant takes out one mechanism of the promise (child/planted.py), a process or the broker is ended exactly where
that mechanism is needed, and what is judged is the system at rest: found means the damage that this bug must do, not
that something took long. Without a plant the same points come out clean (`make test-crash-points`).
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.crash.harness import NOTIFICATION, Point, staged
from tests.crash.result import Result

from llegada_dev.cluster import API
from llegada_dev.infrastructure import say


@dataclass(frozen=True)
class Plant:
    """`damage`: what the judge must have counted."""

    name: str
    point: Point
    damage: Callable[[Result], int]
    words: str


PLANTS = (
    Plant("ack-before-commit", Point(NOTIFICATION, "effect.before_call"), lambda r: r.lost_messages, "lost messages"),
    Plant(
        "publish-before-commit",
        Point(API, "request.before_commit"),
        lambda r: r.doubled_messages - r.explained_messages,
        "messages about a reservation that was never made",
    ),
    Plant("no-inbox", Point(NOTIFICATION, "state.after_commit"), lambda r: r.handled_twice, "messages handled twice"),
    Plant(
        "no-confirm",
        Point(API, "relay.between_write_and_confirm", how="broker"),
        lambda r: r.lost_links,
        "lost links, their events with them",
    ),
    Plant(
        "no-lease",
        Point(NOTIFICATION, "effect.before_call", how="stop"),
        lambda r: r.doubled_messages - r.explained_messages,
        "messages sent by two processes",
    ),
)


def found(plant: Plant, reservations: int, patience: float) -> bool:
    with staged(reservations, patience, plant.name) as harness:
        try:
            harness.run(plant.point)
        except AssertionError as error:
            say(f"{plant.name}: {error}")
        result = harness.judged()
    print(f"{plant.name}: {'found' if plant.damage(result) else 'NOT FOUND'}, {plant.damage(result)} {plant.words}"
          f" ({plant.point}; {result})", flush=True)  # fmt: skip
    return plant.damage(result) > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[plant.name for plant in PLANTS])
    parser.add_argument("--reservations", type=int, default=5)
    parser.add_argument("--patience", type=float, default=120, help="seconds until rest")
    chosen = parser.parse_args()
    wanted = [plant for plant in PLANTS if not chosen.only or plant.name in chosen.only]
    missed = [plant.name for plant in wanted if not found(plant, chosen.reservations, chosen.patience)]
    print(f"planted bugs: {len(wanted) - len(missed)} of {len(wanted)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

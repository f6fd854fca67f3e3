"""What of an employment holds on a day. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import asyncpg

from llegada.events.person import Employment


def holding(on: date, newest: Mapping[str, Any], changes: Sequence[asyncpg.Record]) -> Employment:
    """The employment with what was changed until then. `changes`: newest first, with before and after."""
    held = dict(changes[-1]["before"] if changes else newest)
    for change in reversed(changes):
        if change["effective_on"] <= on:
            before = change["before"]
            held |= {name: value for name, value in change["after"].items() if value != before.get(name)}
    return Employment.model_validate(held)

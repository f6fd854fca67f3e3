"""Windows, names and digits of passcodes. Pure, but for the dice."""

import itertools
import secrets
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
DIGITS = 6


def window(starts_at: datetime, ends_at: datetime) -> tuple[datetime, datetime]:
    """Whole hours, as TTLock keeps them: from the hour of the start to the first full hour that covers the end.

    The start is the arrival hour and not earlier: a computed code that is not used within 24 hours of it is suspended.
    """
    start = _hour(starts_at)
    end = _hour(ends_at) + (HOUR if ends_at > _hour(ends_at) else timedelta())
    return start, max(end, start + HOUR)


def name_of(reservation_id: int, intent: int) -> str:
    """The same for every attempt: by it a code is found at its lock, whoever's answer was lost."""
    return f"RES-{reservation_id}-{intent}"


def digits() -> str:
    """Six digits that TTLock does not find too simple, and that do not start with 0."""
    while True:
        found = str(secrets.randbelow(9 * 10 ** (DIGITS - 1)) + 10 ** (DIGITS - 1))
        steps = {int(b) - int(a) for a, b in itertools.pairwise(found)}
        if len(set(found)) > 2 and len(steps) > 1:  # noqa: PLR2004 - neither 112112 nor 123456
            return found


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)

"""Delays in numbers. Pure.

The ladder has one rung for each power of two seconds: 1 s, 2 s, 4 s … 4096 s (68 min). A delay is rounded up to its
rung; what is longer than the last rung goes there and is weighed anew when it comes back.
"""

from dataclasses import dataclass
from datetime import timedelta

RUNGS: tuple[timedelta, ...] = tuple(timedelta(seconds=2**n) for n in range(13))


@dataclass(frozen=True)
class RetryPolicy:
    """With the defaults: tries at 0 s, 2 s and 6 s, then a dead letter.

    `attempts` counts calls that failed; waits (rate limit, provider down) do not count and end after `give_up_after`,
    measured from the time of the event.
    """

    attempts: int = 3
    first_delay: timedelta = timedelta(seconds=2)
    give_up_after: timedelta = timedelta(hours=24)

    def delay(self, attempt: int) -> timedelta:
        """How long to wait after failure number `attempt` (from 1): 2 s, 4 s, 8 s … up to the last rung."""
        doublings: int = 2 ** min(attempt - 1, len(RUNGS))
        return min(self.first_delay * doublings, RUNGS[-1])


def rung_at_least(delay: timedelta) -> timedelta:
    """The shortest rung that is not shorter than `delay`."""
    return next((rung for rung in RUNGS if rung >= delay), RUNGS[-1])


def rung_at_most(delay: timedelta) -> timedelta:
    """The longest rung that is not longer than `delay`: for what must not be late."""
    return next((rung for rung in reversed(RUNGS) if rung <= delay), RUNGS[0])

"""Which period a statement covers, and when it is due. Pure.

The day of the month is a person's own. A month that is shorter has it on its last day, so periods meet without a gap.
A run that was missed is caught up for a week; after that somebody orders it by hand.
"""

import calendar
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

AT = time(9)
CATCH_UP = timedelta(days=7)


@dataclass(frozen=True)
class Period:
    """From `start` to `end`, both included. `month`: the first of the month that `end` lies in, which numbers it."""

    start: date
    end: date

    @property
    def month(self) -> date:
        return self.end.replace(day=1)

    @property
    def runs_on(self) -> date:
        return self.end + timedelta(days=1)


def due(now: datetime, zone: ZoneInfo, day: int) -> Period | None:
    """The period whose statement should have been ordered by now and may still be; None: nothing is due."""
    latest = over(now.astimezone(zone).date(), day)
    begins = datetime.combine(latest.runs_on, AT, zone)
    return latest if begins <= now < begins + CATCH_UP else None


def over(today: date, day: int) -> Period:
    """The newest period that has ended before `today` began."""
    runs_on = _day_of(today, day)
    return _ending(runs_on if runs_on <= today else _day_of(_before(today), day), day)


def of_month(month: date, day: int) -> Period:
    """The period whose last day lies in the month."""
    runs_on = _day_of(month, day)
    if runs_on.day == 1:
        runs_on = _day_of(_last(month) + timedelta(days=1), day)
    return _ending(runs_on, day)


def _ending(runs_on: date, day: int) -> Period:
    return Period(_day_of(_before(runs_on), day), runs_on - timedelta(days=1))


def _before(value: date) -> date:
    """A day of the month before."""
    return value.replace(day=1) - timedelta(days=1)


def _last(value: date) -> date:
    return value.replace(day=calendar.monthrange(value.year, value.month)[1])


def _day_of(month: date, day: int) -> date:
    return month.replace(day=min(day, _last(month).day))

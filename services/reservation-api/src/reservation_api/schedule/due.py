"""Which day's run is due at this moment, and when the next one will be. Pure.

The time is local to the organization's IANA zone, so daylight saving moves the instant and not the hour. A missed run
is caught up within a window, and given up after it: an invitation in the middle of the night helps nobody.
"""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reservation_api.organizations.schemas import InvitationSettings


def run_due(now: datetime, zone: ZoneInfo, settings: InvitationSettings) -> date | None:
    """The local day whose run should have begun and may still begin; None: nothing is due."""
    if not settings.enabled:
        return None
    today = now.astimezone(zone).date()
    window = timedelta(hours=settings.catch_up_hours, minutes=10)
    for day in (today, today - timedelta(days=1)):
        begins = _instant(day, settings.at, zone)
        if begins <= now < begins + window:
            return day
    return None


def next_run(now: datetime, zone: ZoneInfo, settings: InvitationSettings) -> datetime | None:
    """The first instant after `now` at which a run begins; None where they are switched off."""
    if not settings.enabled:
        return None
    today = now.astimezone(zone).date()
    instants = (_instant(today + timedelta(days=days), settings.at, zone) for days in range(3))
    return next(instant for instant in instants if instant > now)


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """In UTC, since arithmetic on local times ignores a change of the clock."""
    local = datetime.combine(day, at, zone)
    return datetime.fromtimestamp(local.timestamp(), tz=ZoneInfo("UTC"))

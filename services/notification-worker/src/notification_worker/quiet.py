"""Which messages wait while guests sleep, and until when. Pure.

| message                 | in quiet hours | because                                                        |
|-------------------------|----------------|----------------------------------------------------------------|
| `confirmation`          | goes           | the guest has just booked, and looks for the link to pay       |
| `welcome`               | goes           | a new contact, at the desk or on the way: link and code        |
| `check_in_confirmation` | goes           | the guest stands at the door                                   |
| `pin`                   | goes           | the old code does not work any more                            |
| an answer to a guest    | goes           | the guest is awake, and has asked                              |
| `invitation`            | waits          | an invitation, a reminder to pay: nobody is waiting for it     |

The same table says what a guest who wrote STOP still gets.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from llegada.events.notification import MessageKind
from llegada.events.organization import QuietHours
from llegada.events.reservation import CHECK_IN_CONFIRMATION, CONFIRMATION, INVITATION, PIN, WELCOME

URGENT: dict[MessageKind, bool] = {
    CONFIRMATION: True,
    WELCOME: True,
    CHECK_IN_CONFIRMATION: True,
    PIN: True,
    INVITATION: False,
}


def is_urgent(kind: MessageKind) -> bool:
    """What is not in the table is not urgent: it may wait until somebody has decided."""
    return URGENT.get(kind, False)


def ends(now: datetime, zone: ZoneInfo, quiet: QuietHours | None) -> datetime | None:
    """When the quiet hours around `now` end, in `zone`; None outside of them."""
    if quiet is None or quiet.start == quiet.end:
        return None
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        over_midnight = quiet.end < quiet.start
        begin, end = _instant(day, quiet.start, zone), _instant(day + timedelta(days=over_midnight), quiet.end, zone)
        if begin <= now < end:
            return end.astimezone(zone)
    return None


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """In UTC, since arithmetic on local times ignores a change of the clock. An hour that is left out comes later."""
    return datetime.combine(day, at, zone).astimezone(UTC)

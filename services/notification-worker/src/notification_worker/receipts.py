"""What WhatsApp tells afterwards: which attempt was worked, and what became of a message."""

import re
from datetime import UTC, datetime, timedelta

from llegada.events.notification import (
    NotificationDelivered,
    NotificationFailed,
    NotificationRead,
    NotificationReady,
    NotificationStatus,
)
from llegada.events.types import Channel, ReservationId
from llegada.messaging.effects import Attempt, SendAgain
from llegada.messaging.failures import NotYetKnown
from notification_worker.messages import Booking
from notification_worker.store import Store, Told
from notification_worker.whatsapp import UNREACHABLE, words_for

_OWN_KEY = re.compile(r"^reservation-([0-9]{1,18})-([a-z_]+)-whatsapp-([0-9]+)-[0-9]+-[0-9a-f]+$")
_FIRST_WAIT = timedelta(seconds=2)
Receipt = NotificationDelivered | NotificationRead | NotificationFailed


async def find_out(store: Store, attempt: Attempt, grace: timedelta) -> Told | SendAgain:
    """What the status webhooks told about the earlier attempts. Raises NotYetKnown within the grace time."""
    told = await store.told(attempt.earlier_references)
    if told is not None:
        return told if told.status != "failed" else SendAgain("WhatsApp told that the earlier attempt failed")
    waited = datetime.now(UTC) - (attempt.doubted_at or attempt.opened_at)
    if waited < grace:  # asked again after as long as it took until now, so an early word is heard early
        again = min(max(waited, _FIRST_WAIT), grace - waited)
        raise NotYetKnown("WhatsApp has not said yet whether it took the message", retry_after=again)
    return SendAgain(f"WhatsApp told nothing within {grace}; this message may double")


def reservation_of(status: NotificationStatus) -> ReservationId | None:
    """Whose message it was, from the key that we gave it; None where it was no message about a reservation."""
    found = _OWN_KEY.match(status.own_key or "")
    return None if found is None else ReservationId(int(found[1]))


def receipt(status: NotificationStatus, booking: Booking) -> Receipt | NotificationReady | None:
    """What a new status means: a receipt, or the e-mail instead, for a guest who turned out to have no WhatsApp."""
    found = _OWN_KEY.match(status.own_key or "")
    if found is None or status.status == "sent":
        return None
    kind, intent = found[2], int(found[3])
    known = {
        "organization_id": status.organization_id,
        "reservation_id": int(found[1]),
        "kind": kind,
        "intent": intent,
        "provider_message_id": status.provider_message_id,
        "at": status.at,
    }
    match status.status:
        case "delivered":
            return NotificationDelivered.model_validate(known)
        case "read":
            return NotificationRead.model_validate(known)
        case _:
            by_channel = {ready.channel: ready for ready in booking.ready_again(kind, intent)}
            sent = by_channel.get(Channel.WHATSAPP)
            if sent is not None and sent.fallback_email is not None and status.error_code in UNREACHABLE:
                return sent.model_copy(update={"channel": Channel.EMAIL, "recipient": sent.fallback_email})
            elsewhere = Channel.EMAIL in by_channel
            reason = words_for(status.error_code, status.error)
            failed = {**known, "reason": reason, "code": status.error_code, "elsewhere": elsewhere}
            return NotificationFailed.model_validate(failed)

"""The effect that sends an answer to a guest who wrote."""

import hashlib
from datetime import UTC, datetime, timedelta

from llegada.events.guest import GuestMessageAnswered, GuestReplyReady
from llegada.messaging.effects import Attempt, EffectKey, Found, NotWanted, SendAgain
from llegada.messaging.gate import Way
from notification_worker.receipts import find_out
from notification_worker.store import Store
from notification_worker.whatsapp import WhatsApp


class GuestReply:
    """One answer per message of a guest. After an attempt without an answer it may double, once WhatsApp was asked."""

    def __init__(self, event: GuestReplyReady, store: Store, whatsapp: WhatsApp, grace: timedelta) -> None:
        self._event = event
        self._store = store
        self._whatsapp = whatsapp
        self._grace = grace

    def key(self) -> EffectKey:
        name = hashlib.sha256(self._event.provider_message_id.encode()).hexdigest()[:24]
        return EffectKey(self._event.organization_id, "reply", f"message/{name}", 1)

    def way(self) -> Way:
        return self._whatsapp.way(self._event.organization_id, self._event.phone)

    async def still_wanted(self) -> NotWanted | None:
        too_late = datetime.now(UTC) >= self._event.until
        return NotWanted("the 24 hours after the guest wrote are over") if too_late else None

    async def look_up(self, attempt: Attempt) -> Found | SendAgain:
        told = await find_out(self._store, attempt, self._grace)
        return told if isinstance(told, SendAgain) else Found(self._answered(told.provider_message_id, told.at))

    async def perform(self, attempt: Attempt) -> GuestMessageAnswered:
        event = self._event
        message_id = await self._whatsapp.send_text(event.organization_id, event.phone, event.text, attempt.reference)
        return self._answered(message_id, datetime.now(UTC))

    def _answered(self, message_id: str, at: datetime) -> GuestMessageAnswered:
        event = self._event
        return GuestMessageAnswered(
            organization_id=event.organization_id,
            reservation_id=event.reservation_id,
            provider_message_id=event.provider_message_id,
            text=event.text,
            keyword=event.keyword,
            reply_id=message_id,
            sent_at=at,
        )

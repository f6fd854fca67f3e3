"""What the payment worker does: a payment link for every reservation that wants one."""

from datetime import timedelta

from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import ReservationCreated
from llegada.messaging.effects import Attempt, Effect, EffectKey, NotWanted, SendAgain
from llegada.messaging.gate import Way
from payment_worker.bold import Bold, expiry

KIND = "payment-link"


class Payments:
    """`lifetime`: how long a link can be paid. Never unset: the link of an unanswered attempt must die."""

    def __init__(self, bold: Bold, lifetime: timedelta) -> None:
        self._bold = bold
        self._lifetime = lifetime

    def create_link(self, event: ReservationCreated) -> Effect[PaymentLinkCreated]:
        return PaymentLink(event, self._bold, self._lifetime)


class PaymentLink:
    """One link shown per intent, whatever happens on the way."""

    def __init__(self, event: ReservationCreated, bold: Bold, lifetime: timedelta) -> None:
        self._event = event
        self._bold = bold
        self._lifetime = lifetime

    def key(self) -> EffectKey:
        return EffectKey(self._event.organization_id, KIND, self._event.subject, self._event.payment_link_intent)

    def way(self) -> Way:
        return self._bold.way(self._event.organization_id)

    async def still_wanted(self) -> NotWanted | None:
        return None  # nothing ends the wish for a first link yet

    async def look_up(self, attempt: Attempt) -> SendAgain:
        """Bold cannot be asked by reference. What an unanswered attempt made is never shown, and expires."""
        return SendAgain(
            f"Bold cannot be asked about {attempt.earlier_references[-1]}; a new link, the old one expires"
        )

    async def perform(self, attempt: Attempt) -> PaymentLinkCreated:
        event, expires_at = self._event, expiry(self._lifetime)
        description = f"Reserva {event.reservation_id} {event.property_name}"
        link = await self._bold.create_link(
            event.organization_id, attempt.reference, event.amount, description, expires_at
        )
        return PaymentLinkCreated(
            organization_id=event.organization_id,
            reservation_id=event.reservation_id,
            intent=event.payment_link_intent,
            url=link.url,
            link_id=link.id,
            reference=attempt.reference,
            amount=event.amount,
            expires_at=expires_at,
        )

"""What the payment worker does: a payment link for every reservation that wants one, and what becomes of it.

What happens after an attempt of which nobody knows what it did: a new link under a new reference. The lost link was
never shown; it expires, and should it be paid all the same, its reference tells whose payment it is.
"""

from dataclasses import replace
from datetime import timedelta

import structlog

from llegada.events.payment import (
    PaymentLinkCreated,
    PaymentRejected,
    PaymentSettled,
    PaymentStatus,
    PaymentVoided,
    PaymentWebhookReceived,
)
from llegada.events.reservation import (
    ReservationCancelled,
    ReservationCheckedOut,
    ReservationContactUpdated,
    ReservationCreated,
    ReservationInvitationDue,
)
from llegada.events.types import ReservationId
from llegada.messaging.effects import Attempt, Effect, EffectKey, NotWanted, SendAgain
from llegada.messaging.failures import Transient
from llegada.messaging.gate import Way
from llegada.messaging.subscription import Batch
from llegada.messaging.transaction import Transaction
from payment_worker.bold import Bold, expiry
from payment_worker.store import Balance, News, Store

KIND = "payment-link"
Wish = ReservationCreated | ReservationContactUpdated | ReservationInvitationDue
Told = (
    PaymentLinkCreated
    | ReservationContactUpdated
    | ReservationInvitationDue
    | ReservationCancelled
    | ReservationCheckedOut
)
log = structlog.get_logger()


class Payments:
    """`lifetime`: how long a link can be paid. Never unset: the link of an unanswered attempt must die."""

    def __init__(self, store: Store, bold: Bold, lifetime: timedelta) -> None:
        self.store = store
        self.bold = bold
        self._lifetime = lifetime

    def create_link(
        self, event: ReservationCreated | ReservationContactUpdated | ReservationInvitationDue
    ) -> Effect[PaymentLinkCreated]:
        return PaymentLink(event, self.store, self.bold, self._lifetime)

    async def remember(
        self,
        batch: Batch[
            PaymentLinkCreated
            | ReservationContactUpdated
            | ReservationInvitationDue
            | ReservationCancelled
            | ReservationCheckedOut
        ],
        tx: Transaction,
    ) -> None:
        """What was asked, which link is the newest wish, and whether the booking has ended."""
        news: dict[ReservationId, News] = {}
        for delivered in batch:
            said = told(delivered.event)
            earlier = news.get(said.reservation_id)
            news[said.reservation_id] = said if earlier is None else earlier.and_then(said)
        links = [d.event for d in batch if isinstance(d.event, PaymentLinkCreated)]
        await self.store.note(tx, list(news.values()), links)

    async def settle(
        self, event: PaymentWebhookReceived, tx: Transaction
    ) -> PaymentSettled | PaymentRejected | PaymentVoided | None:
        """What a payment means for its reservation. Other sales of the same merchant are none of our business."""
        reservation = await self.store.reservation_of(tx, event)
        if reservation is None:
            log.info("payment_of_somebody_else", payment_id=event.payment_id, kind=event.kind)
            return None
        booking = await self.store.lock(tx, event.organization_id, reservation)
        if booking is None:
            if await self.store.belongs_elsewhere(tx, event.organization_id, reservation):
                log.info("payment_of_another_organization", payment_id=event.payment_id, kind=event.kind)
                return None
            raise Transient(f"a payment for reservation {reservation} came before the reservation", code="early")
        balance = await self.store.take(tx, event, booking)
        if balance is None:
            return None
        known = {
            "organization_id": event.organization_id,
            "reservation_id": booking.reservation_id,
            "payment_id": event.payment_id,
            "asked": balance.asked,
            "paid": balance.paid,
            "payment_status": status_of(balance),
            "revision": balance.revision,
            "at": event.at,
        }
        match event.kind:
            case "SALE_APPROVED":
                return PaymentSettled.model_validate({**known, "amount": event.total, "method": event.method})
            case "SALE_REJECTED":
                return PaymentRejected.model_validate({**known, "reason": event.bold_code})
            case _:
                return PaymentVoided.model_validate({**known, "amount": event.total})


def told(event: Told) -> News:
    """What an event says about the booking's payments."""
    news = News(event.organization_id, event.reservation_id)
    match event:
        case PaymentLinkCreated():
            return replace(news, asked=event.amount.amount, link_intent=event.intent)
        case ReservationCancelled():
            return replace(news, ended="the reservation was cancelled")
        case ReservationCheckedOut():
            return replace(news, ended="the guest has checked out")
        case _:
            return replace(news, asked=event.amount.amount, link_intent=event.payment_link_intent or 0)


def status_of(balance: Balance) -> PaymentStatus:
    """Paid once everything that was asked is there: Bold's total holds tip and surcharge on top."""
    if balance.paid >= balance.asked:
        return "paid"
    if balance.paid > 0:
        return "partially_paid"
    return "refunded" if balance.voided else "pending"


class PaymentLink:
    """One link shown per intent, whatever happens on the way."""

    def __init__(self, event: Wish, store: Store, bold: Bold, lifetime: timedelta) -> None:
        self._event = event
        self._store = store
        self._bold = bold
        self._lifetime = lifetime

    def key(self) -> EffectKey:
        return EffectKey(self._event.organization_id, KIND, self._event.subject, self._event.payment_link_intent or 0)

    def way(self) -> Way:
        return self._bold.way(self._event.organization_id)

    async def still_wanted(self) -> NotWanted | None:
        known = await self._store.before_calling(self._event.organization_id, self._event.reservation_id)
        intent = self._event.payment_link_intent
        if intent is None:
            return NotWanted("the guest has paid")
        if known.ended is not None:
            return NotWanted(known.ended)
        if known.link_intent > intent:
            return NotWanted("a newer link took its place")
        if known.asked is not None and known.paid >= known.asked:
            return NotWanted("the guest has paid")
        return None

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
            intent=event.payment_link_intent or 1,
            url=link.url,
            link_id=link.id,
            reference=attempt.reference,
            amount=event.amount,
            expires_at=expires_at,
        )

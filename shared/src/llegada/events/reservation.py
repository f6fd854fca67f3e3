"""What happens to a reservation, published by reservation-api."""

from datetime import date, time
from typing import ClassVar, Final

from llegada.events.event import ReservationEvent
from llegada.events.types import Channel, Contact, Intent, Language, Money

PAYMENT_LINK: Final = "paymentLink"
CONFIRMATION: Final = "confirmation"


class ReservationCreated(ReservationEvent):
    """Somebody booked. Carries what the payment link and the confirmation need, so that no worker asks back.

    `channels` are the ones that the organization has switched on, in order of preference. `payment_link_intent` and
    `confirmation_intent` are the intents that this event wants.
    """

    type: ClassVar[str] = "reservation.created"

    guest_name: str
    contact: Contact
    language: Language = "es"
    amount: Money
    check_in_date: date
    check_out_date: date
    arrival_time: time | None = None
    property_name: str
    check_in_url: str
    channels: tuple[Channel, ...] = (Channel.WHATSAPP, Channel.EMAIL)
    payment_link_intent: Intent = 1
    confirmation_intent: Intent = 1

    def expected_steps(self) -> dict[str, int]:
        return {PAYMENT_LINK: self.payment_link_intent, CONFIRMATION: self.confirmation_intent}

"""What happens to a payment, published by payment-worker."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from llegada.events.event import Event, FactEvent, ReservationEvent
from llegada.events.reservation import PAYMENT_LINK
from llegada.events.types import Money


class PaymentLinkCreated(FactEvent):
    """A payment link that may be shown to the guest. Links of unanswered attempts are never published."""

    type: ClassVar[str] = "payment.link_created"
    completes: ClassVar[str] = PAYMENT_LINK

    url: str
    link_id: str
    reference: str
    amount: Money
    expires_at: datetime


PaymentStatus = Literal["pending", "partially_paid", "paid", "refunded"]


class PaymentWebhookReceived(Event):
    """Bold told something about a payment; its signature was checked. Repeated, late, and in any order.

    `reference`: the one that we gave, or the link's id: Bold's sources contradict each other. `total`: whole pesos with
    tip and surcharge. Published by reservation-api.
    """

    type: ClassVar[str] = "payment.webhook_received"

    bold_event_id: str
    kind: Literal["SALE_APPROVED", "SALE_REJECTED", "VOID_APPROVED", "VOID_REJECTED"]
    payment_id: str
    reference: str | None = None
    total: int
    method: str | None = None
    bold_code: str | None = None
    at: datetime

    @property
    def subject(self) -> str:
        return f"payment/{self.payment_id}"


class PaymentEvent(ReservationEvent):
    """What a payment changed. `revision` counts the changes of one reservation's payments: the highest one is true.

    `asked`, `paid`: whole pesos, over all payments of the reservation that still count. More than was asked is a tip, a
    surcharge, or a second payment.
    """

    payment_id: str
    asked: Annotated[int, Field(gt=0)]
    paid: Annotated[int, Field(ge=0)]
    payment_status: PaymentStatus
    revision: int
    at: datetime


class PaymentSettled(PaymentEvent):
    """Money has arrived."""

    type: ClassVar[str] = "payment.settled"

    amount: int
    method: str | None = None


class PaymentRejected(PaymentEvent):
    """The guest's attempt to pay was refused; the link can be tried again until it expires."""

    type: ClassVar[str] = "payment.rejected"

    reason: str | None = None


class PaymentVoided(PaymentEvent):
    """A payment was taken back."""

    type: ClassVar[str] = "payment.voided"

    amount: int

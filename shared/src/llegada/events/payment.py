"""What happens to a payment, published by payment-worker."""

from datetime import datetime
from typing import ClassVar

from llegada.events.event import FactEvent
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

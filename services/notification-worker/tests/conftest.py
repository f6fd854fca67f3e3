"""Events as the other services publish them."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from llegada.events.notification import NotificationReady
from llegada.events.payment import PaymentLinkCreated
from llegada.events.reservation import ReservationCreated
from llegada.events.types import Contact, Money, OrganizationId, ReservationId
from notification_worker.messages import Booking, take

ORGANIZATION, RESERVATION = OrganizationId(1), ReservationId(17)


def created(**changes: Any) -> ReservationCreated:
    known: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "reservation_id": RESERVATION,
        "guest_name": "Ana <b>Gómez</b>",
        "contact": Contact(phone="+573001234567"),
        "amount": Money(amount=180_000),
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test/check-in/17-x",
    }
    return ReservationCreated.model_validate({**known, **changes})


def linked(intent: int = 1) -> PaymentLinkCreated:
    return PaymentLinkCreated(
        organization_id=ORGANIZATION,
        reservation_id=RESERVATION,
        intent=intent,
        url=f"https://checkout.test/{intent}",
        link_id="LNK",
        reference="r",
        amount=Money(amount=180_000),
        expires_at=datetime.now(UTC),
    )


@pytest.fixture
def ready() -> Callable[..., NotificationReady]:
    """A complete message; keywords change the reservation that it is about."""

    def make(**changes: Any) -> NotificationReady:
        booking = Booking()
        take(booking, linked())
        return take(booking, created(**changes))[0]

    return make

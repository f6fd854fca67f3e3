"""Payments from webhooks that come doubled, late and in any order; links that nobody wants any more."""

import itertools
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from llegada.events.event import Event
from llegada.events.payment import PaymentLinkCreated, PaymentWebhookReceived
from llegada.events.reservation import ReservationCancelled, ReservationContactUpdated, ReservationCreated
from llegada.events.types import Contact, Money, OrganizationId, ReservationId
from llegada.messaging.effects import NotWanted
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from llegada.runtime.http import ProviderClient
from llegada.testing.plugin import ServiceDatabase
from payment_worker.bold import Bold
from payment_worker.handlers import Payments
from payment_worker.missed import find_missed
from payment_worker.store import Store

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
REFERENCE = "reservation-17-payment-link-1-1-6a2f"


def linked(intent: int = 1) -> PaymentLinkCreated:
    return PaymentLinkCreated(
        organization_id=OrganizationId(1),
        reservation_id=ReservationId(17),
        intent=intent,
        url="https://checkout.test/1",
        link_id=f"LNK_{intent}",
        reference=REFERENCE,
        amount=Money(amount=180_000),
        expires_at=NOW + timedelta(days=3),
    )


def told(kind: str = "SALE_APPROVED", payment: str = "P1", total: int = 180_000, **more: Any) -> PaymentWebhookReceived:
    known = {"organization_id": 1, "bold_event_id": f"{payment}-{kind}", "reference": REFERENCE, "at": NOW}
    return PaymentWebhookReceived.model_validate({**known, "kind": kind, "payment_id": payment, "total": total, **more})


@pytest_asyncio.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database("payment_worker")


@pytest.fixture
def payments(database: Database) -> Payments:
    return Payments(Store(database), None, timedelta(hours=1))  # type: ignore[arg-type] # nothing here calls Bold


async def remember(payments: Payments, database: Database, *events: Any) -> None:
    batch = [
        Delivered(e, first(e, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))
        for e in events
    ]
    async with database.transaction() as tx:
        await payments.remember(batch, tx)


async def settle(payments: Payments, database: Database, event: PaymentWebhookReceived) -> Any:
    async with database.transaction() as tx:
        return await payments.settle(event, tx)


async def test_a_payment_settles_its_reservation_once(payments: Payments, database: Database) -> None:
    await remember(payments, database, linked())
    settled = await settle(payments, database, told())
    assert (settled.type, settled.reservation_id, settled.payment_status) == ("payment.settled", 17, "paid")
    assert await settle(payments, database, told()) is None


@pytest.mark.parametrize("reference", [REFERENCE, "LNK_1", "reservation-17-payment-link-1-7-ff"])
async def test_both_conventions_and_every_attempt_find_the_reservation(
    payments: Payments, database: Database, reference: str
) -> None:
    await remember(payments, database, linked())
    settled = await settle(payments, database, told(reference=reference))
    assert settled.reservation_id == 17


@pytest.mark.parametrize("reference", [None, "POS-12", "LNK_OTHER"])
async def test_another_sale_of_the_merchant_is_none_of_our_business(
    payments: Payments, database: Database, reference: str | None
) -> None:
    await remember(payments, database, linked())
    assert await settle(payments, database, told(reference=reference)) is None


async def test_another_organizations_signature_pays_nothing(payments: Payments, database: Database) -> None:
    """It may share the merchant: then each of them is told, and the one whose reservation it is takes it."""
    await remember(payments, database, linked())
    elsewhere = told().model_copy(update={"organization_id": OrganizationId(2)})
    assert await settle(payments, database, elsewhere) is None
    assert await database.fetchrow("select from payments") is None
    assert (await settle(payments, database, told())).payment_status == "paid"


@pytest.mark.parametrize("order", list(itertools.permutations(["SALE_REJECTED", "SALE_APPROVED", "VOID_APPROVED"])))
async def test_a_payment_only_goes_forward_whatever_the_order(
    payments: Payments, database: Database, order: tuple[str, ...]
) -> None:
    await remember(payments, database, linked())
    said = [await settle(payments, database, told(kind)) for kind in order]
    last = max((event for event in said if event is not None), key=lambda event: event.revision)
    assert (last.type, last.payment_status, last.paid) == ("payment.voided", "refunded", 0)


SALES = [
    ("P1", "SALE_REJECTED", 180_000),
    ("P1", "SALE_APPROVED", 100_000),
    ("P2", "SALE_APPROVED", 50_000),
    ("P2", "VOID_REJECTED", 50_000),
    ("P3", "SALE_APPROVED", 40_000),
    ("P3", "VOID_APPROVED", 40_000),
    ("P4", "SALE_REJECTED", 180_000),
]


@pytest.mark.parametrize(
    ("left_out", "paid", "status"),
    [((), 150_000, "partially_paid"), (("VOID_APPROVED",), 190_000, "paid"), (("SALE_APPROVED",), 0, "refunded")],
)
@pytest.mark.parametrize("seed", range(10))
async def test_the_same_batch_in_any_order_gives_the_same_balance(
    payments: Payments, database: Database, seed: int, left_out: tuple[str, ...], paid: int, status: str
) -> None:
    batch = [told(kind, payment, total) for payment, kind, total in SALES if kind not in left_out] * 2
    random.Random(seed).shuffle(batch)
    await remember(payments, database, linked())
    said = [event for sale in batch if (event := await settle(payments, database, sale)) is not None]
    last = max(said, key=lambda event: event.revision)
    assert (last.paid, last.payment_status) == (paid, status)
    row = await database.fetchrow(
        "select array_agg(payment_id || ' ' || state order by payment_id) as known from payments"
    )
    assert row is not None
    best = {payment: kind for payment, kind, _ in SALES if kind not in left_out and kind != "VOID_REJECTED"}
    states = {"SALE_REJECTED": "rejected", "SALE_APPROVED": "approved", "VOID_APPROVED": "voided"}
    assert row["known"] == sorted(f"{payment} {states[kind]}" for payment, kind in best.items())


async def test_parts_add_up_and_a_surcharge_is_no_second_payment(payments: Payments, database: Database) -> None:
    await remember(payments, database, linked())
    first_part = await settle(payments, database, told(payment="P1", total=100_000))
    assert (first_part.payment_status, first_part.paid) == ("partially_paid", 100_000)
    second_part = await settle(payments, database, told(payment="P2", total=89_000))
    assert (second_part.payment_status, second_part.paid, second_part.revision) == ("paid", 189_000, 2)


def wish(intent: int | None = 1, cls: Callable[..., Event] = ReservationCreated) -> Any:
    known: dict[str, Any] = {
        "organization_id": 1,
        "reservation_id": 17,
        "guest_name": "Ana",
        "contact": Contact(phone="+573001234567"),
        "amount": Money(amount=180_000),
        "check_in_date": date(2026, 12, 1),
        "check_out_date": date(2026, 12, 3),
        "property_name": "Hostal",
        "check_in_url": "https://desk.test",
        "payment_link_intent": intent,
        "welcome_intent": 1,
        "stay": {"starts_at": NOW, "ends_at": NOW},
    }
    return cls(**known)


async def unwanted(payments: Payments, event: Any) -> str | None:
    found = await payments.create_link(event).still_wanted()
    return found.reason if isinstance(found, NotWanted) else None


async def test_a_link_is_not_made_for_a_wish_that_no_longer_stands(payments: Payments, database: Database) -> None:
    assert await unwanted(payments, wish()) is None
    await remember(payments, database, wish(2, ReservationContactUpdated))
    assert await unwanted(payments, wish()) == "a newer link took its place"
    assert await unwanted(payments, wish(2)) is None
    await settle(payments, database, told())
    assert await unwanted(payments, wish(2)) == "the guest has paid"
    cancelled = ReservationCancelled(
        organization_id=OrganizationId(1), reservation_id=ReservationId(17), property_name="Hostal", cancelled_at=NOW
    )
    await remember(payments, database, cancelled, linked(3))
    assert await unwanted(payments, wish(4)) == "the reservation was cancelled"


def bold(notifications: list[dict[str, Any]], status: str = "PAID") -> Bold:
    def answer(request: httpx.Request) -> httpx.Response:
        if "notifications" in request.url.path:
            assert request.url.params["is_external_reference"] == "true"
            return httpx.Response(200, json={"notifications": notifications})
        return httpx.Response(200, json={"id": "LNK_1", "status": status})

    http = ProviderClient("bold", "https://bold.test", transport=httpx.MockTransport(answer))
    return Bold(http, {1: SecretStr("key")})


def notification(kind: str = "SALE_APPROVED") -> dict[str, Any]:
    data = {"payment_id": "P1", "amount": {"total": 180_000}, "metadata": {"reference": None}}
    return {"id": "E1", "type": kind, "time": 1_761_060_600_000_000_000, "data": data}


async def ask(payments: Payments, database: Database, client: Bold) -> int:
    await database.fetchrow("update links set asked_at = now() - interval '1 hour'")
    return await find_missed(payments, Store(database), client, timedelta(minutes=15))


async def test_a_payment_without_its_webhook_is_found_by_asking(payments: Payments, database: Database) -> None:
    await remember(payments, database, linked())
    assert await ask(payments, database, bold([], "ACTIVE")) == 0
    assert await ask(payments, database, bold([{"odd": 1}, notification()])) == 1
    row = await database.fetchrow("select type from outbox")
    assert row is not None
    assert row["type"] == "payment.settled"
    assert await ask(payments, database, bold([notification()])) == 0, "a closed link is not asked about again"


async def test_what_a_webhook_has_told_is_not_found_again(payments: Payments, database: Database) -> None:
    await remember(payments, database, linked())
    await settle(payments, database, told())
    assert await ask(payments, database, bold([notification()])) == 0


async def test_bold_being_away_is_asked_again_later(payments: Payments, database: Database) -> None:
    await remember(payments, database, linked())
    away = Bold(
        ProviderClient("bold", "https://bold.test", transport=httpx.MockTransport(lambda _: httpx.Response(500))),
        {1: SecretStr("key")},
    )
    assert await ask(payments, database, away) == 0
    assert await ask(payments, database, bold([notification()])) == 1


async def test_a_paid_link_is_asked_about_until_its_payment_is_known(payments: Payments, database: Database) -> None:
    """Bold's notifications may come later than its link's status."""
    await remember(payments, database, linked())
    assert await ask(payments, database, bold([])) == 0
    assert await ask(payments, database, bold([{"odd": 1}])) == 0
    assert await ask(payments, database, bold([notification()])) == 1
    row = await database.fetchrow("select closed from links")
    assert row is not None
    assert row["closed"]

"""The projection takes batches: each reservation once, in the order of arrival, whatever the batch holds."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from llegada.events.event import Event
from llegada.events.guest import GuestMessageAnswered, GuestMessageReceived
from llegada.events.job import JobFailed, JobSkipped
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from reservation_api.conversations.store import keep
from reservation_api.timeline.projection import Projection
from reservation_api.webhooks.whatsapp import guest_message

Link = Callable[..., Event]
Reservation = Callable[[], Awaitable[int]]
PHONE = "+573001234567"


async def project(database: Database, *events: Event) -> None:
    batch = [
        Delivered(e, first(e, source="tests", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))
        for e in events
    ]
    async with database.transaction() as tx:
        await Projection().project(batch, tx)


async def shown(client: httpx.AsyncClient, number: int) -> dict[str, Any]:
    data: dict[str, Any] = (await client.get(f"/api/reservations/{number}")).json()["data"]
    return data


async def test_two_links_for_one_reservation_in_one_batch_show_the_newer(
    client: httpx.AsyncClient, database: Database, link: Link, reservation: Reservation
) -> None:
    number = await reservation()
    await project(database, link(number, 2), link(number, 1))
    assert (await shown(client, number))["paymentLink"] == "https://checkout.test/2"
    timeline = (await client.get(f"/api/reservations/{number}/timeline")).json()
    assert [entry["type"] for entry in timeline["data"]].count("payment.link_created") == 2


async def test_a_guest_whose_answer_failed_is_listed_for_staff_until_it_is_answered_after_all(
    client: httpx.AsyncClient, database: Database
) -> None:
    known = {"organization_id": 1, "provider_message_id": "wamid.1"}
    written = GuestMessageReceived.model_validate({**known, "phone": PHONE, "text": "wifi?", "at": datetime.now(UTC)})
    other = written.model_copy(update={"provider_message_id": "wamid.2"})
    async with database.transaction() as tx:
        await keep(tx, [(event, guest_message(event, "test")) for event in (written, other)])
    job = {"organization_id": 1, "job": "notification-worker.reply", "cause_type": "guest.reply_ready", "reason": "r"}
    failed = {**job, "attempt": 1, "attempts": 3, "error_class": "permanent"}
    answered = {**known, "text": "1234", "keyword": "wifi", "reply_id": "wamid.R", "sent_at": datetime.now(UTC)}

    async def states() -> list[str]:
        found = (await client.get("/api/messages")).json()["data"]
        return [message["state"] for message in sorted(found, key=lambda message: int(message["id"]))]

    await project(
        database,
        JobFailed.model_validate({**failed, "cause_item": "wamid.1"}),
        JobSkipped.model_validate({**job, "cause_item": "wamid.2"}),
        JobFailed.model_validate({**failed, "cause_type": "reservation.created"}),
    )
    assert await states() == ["needs_staff", "needs_staff"]
    await project(
        database,
        GuestMessageAnswered.model_validate(answered),
        JobFailed.model_validate({**failed, "cause_item": "wamid.1"}),
    )
    assert await states() == ["answered", "needs_staff"]


async def test_many_reservations_in_one_batch_each_get_their_own(
    client: httpx.AsyncClient, database: Database, link: Link, reservation: Reservation
) -> None:
    numbers = [await reservation() for _ in range(5)]
    await project(database, *(link(number, index + 1) for index, number in enumerate(reversed(numbers))))
    for index, number in enumerate(reversed(numbers)):
        assert (await shown(client, number))["paymentLink"] == f"https://checkout.test/{index + 1}"


async def test_another_organizations_event_changes_nothing_even_beside_the_right_one(
    client: httpx.AsyncClient, database: Database, link: Link, reservation: Reservation
) -> None:
    number = await reservation()
    await project(database, link(number, 9, organization=2), link(number, 1), link(999_999, 1))
    assert (await shown(client, number))["paymentLink"] == "https://checkout.test/1"

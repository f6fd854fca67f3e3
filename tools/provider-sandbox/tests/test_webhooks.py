"""Webhooks out: signed as the providers sign, and every way in which they arrive."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from provider_sandbox.webhooks import bold_signature, whatsapp_signature

Body = Callable[..., dict[str, Any]]


async def fire(client: Any, **order: Any) -> dict[str, Any]:
    answer = await client.http.post("/_sandbox/webhooks", json=order)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def received(receiver: Any, count: int) -> list[tuple[dict[str, str], bytes]]:
    got = [await receiver.next() for _ in range(count)]
    assert receiver.got.empty()
    return got


def test_signatures_are_those_of_the_providers() -> None:
    bold = b'{"id":"abc","type":"SALE_APPROVED"}'
    assert bold_signature("test-secret", bold) == "5a016b6a1e0025d981be2e03ace60f236401402a72b11d256a8e1f39349f56fc"
    assert bold_signature("", bold) == "7f0e550c9c47ac1693f67691de96b5bc82c96940abe6ea7a76c98814f6f88863"
    meta = b'{"object":"whatsapp_business_account","entry":[]}'
    expected = "sha256=d3e4f9da0ce6c71ab3dba55929b8eeeee2455349e534924ead19f98d143e904f"
    assert whatsapp_signature("app-secret", meta) == expected


async def made_link(client: Any, link: Body) -> str:
    answer: httpx.Response = await client.create_link(link())
    return str(answer.json()["payload"]["payment_link"])


async def test_a_sale_is_told_and_signed(client: Any, receiver: Any, link: Body) -> None:
    link_id = await made_link(client, link)
    told = await fire(
        client, provider="bold", url=receiver.url, secret="s", events=[{"type": "SALE_APPROVED", "link": link_id}]
    )
    assert [(d["status"], d["attempts"]) for d in told["deliveries"]] == [(200, 1)]
    ((headers, raw),) = await received(receiver, 1)
    assert headers["x-bold-signature"] == bold_signature("s", raw)
    event = json.loads(raw)
    assert (event["type"], event["source"], event["data"]["payment_id"]) == (
        "SALE_APPROVED",
        "/payments/links",
        event["subject"],
    )
    assert event["data"]["amount"] == {"currency": "COP", "total": 180_000, "taxes": [], "tip": 0}
    assert event["data"]["metadata"] == {"reference": "RES-17-1"}


async def test_a_webhook_can_name_the_link_instead_of_the_reference(client: Any, receiver: Any, link: Body) -> None:
    link_id = await made_link(client, link)
    await client.configure("bold", webhook_reference="link")
    told = await fire(client, provider="bold", events=[{"type": "SALE_REJECTED", "link": link_id}])
    (payload,) = told["payloads"]
    assert payload["data"]["metadata"] == {"reference": link_id}
    assert payload["data"]["bold_code"] == "B010"
    assert told["deliveries"] == []


async def test_statuses_and_inbound_messages_come_in_one_batch(client: Any, receiver: Any, template: Body) -> None:
    await client.send(template() | {"biz_opaque_callback_data": "own-key"})
    events = [
        {"status": "failed", "reference": "own-key", "code": 131026},
        {"from": "573001234567", "text": "¡Hola!", "phone_number_id": "1000000001"},
    ]
    await fire(client, provider="whatsapp", url=receiver.url, secret="s", events=events, batch=True)
    ((headers, raw),) = await received(receiver, 1)
    assert headers["x-hub-signature-256"] == whatsapp_signature("s", raw)
    assert b"\\u00a1Hola!" in raw  # Meta escapes what is not ASCII
    first, second = (entry["changes"][0]["value"] for entry in json.loads(raw)["entry"])
    assert first["statuses"][0]["biz_opaque_callback_data"] == "own-key"
    assert first["statuses"][0]["errors"][0]["code"] == 131026
    assert second["messages"][0]["text"] == {"body": "¡Hola!"}


async def test_who_writes_opens_the_window(client: Any) -> None:
    body = {"messaging_product": "whatsapp", "to": "573001234567", "type": "text", "text": {"body": "Hola"}}
    assert (await client.send(body)).json()["error"]["code"] == 131047
    event = {"from": "+573001234567", "text": "Hola", "phone_number_id": "1000000001"}
    await fire(client, provider="whatsapp", events=[event])
    assert (await client.send(body)).status_code == 200


@pytest.mark.parametrize(
    ("arrangement", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"copies": 2}, [1, 1, 2, 2, 3, 3]),
        ({"order": "reversed"}, [3, 2, 1]),
        ({"order": "shuffled", "seed": 1}, [2, 3, 1]),
    ],
)
async def test_webhooks_are_doubled_and_reordered(
    client: Any, receiver: Any, arrangement: dict[str, Any], expected: list[int]
) -> None:
    events = [{"raw": {"id": number}} for number in (1, 2, 3)]
    await fire(client, provider="bold", url=receiver.url, events=events, **arrangement)
    assert [json.loads(raw)["id"] for _, raw in await received(receiver, len(expected))] == expected


@pytest.mark.parametrize("forged", ["wrong_key", "altered_body", "missing"])
@pytest.mark.parametrize("provider", ["bold", "whatsapp"])
async def test_a_forged_webhook_has_no_valid_signature(client: Any, receiver: Any, provider: str, forged: str) -> None:
    order = {"provider": provider, "url": receiver.url, "secret": "s", "events": [{"raw": {"id": 1}}]}
    await fire(client, **order, forged=forged)
    ((headers, raw),) = await received(receiver, 1)
    valid = {bold_signature("s", raw), whatsapp_signature("s", raw)}
    given = {headers.get("x-bold-signature"), headers.get("x-hub-signature-256")} - {None}
    assert not valid & given
    assert bool(given) == (forged != "missing")


async def test_a_webhook_is_retried_until_it_is_taken(client: Any, receiver: Any) -> None:
    receiver.answers = [500, 503]
    order = {"provider": "bold", "url": receiver.url, "events": [{"raw": {"id": 1}}], "retry_delays": [0, 0, 0, 0, 0]}
    told = await fire(client, **order)
    assert [(d["status"], d["attempts"]) for d in told["deliveries"]] == [(200, 3)]
    assert len(await received(receiver, 3)) == 3


async def test_a_receiver_that_is_away_is_reported(client: Any) -> None:
    told = await fire(client, provider="bold", url="http://127.0.0.1:1/", events=[{"raw": {}}])
    (delivery,) = told["deliveries"]
    assert delivery["status"] is None
    assert "ConnectError" in delivery["error"]


@pytest.mark.parametrize(
    ("order", "status", "hint"),
    [
        ({"provider": "smtp", "events": [{"raw": {}}]}, 422, "'bold' or 'whatsapp'"),
        ({"provider": "bold", "events": []}, 422, "at least 1"),
        ({"provider": "bold", "events": [{"raw": {}}], "url": "ftp://a.test"}, 422, "url"),
        ({"provider": "bold", "events": [{"type": "SALE_APPROVED"}]}, 422, "link or reference"),
        ({"provider": "bold", "events": [{"type": "SALE_APPROVED", "link": "LNK_NONE"}]}, 404, "LNK_NONE"),
        ({"provider": "bold", "events": [{"raw": {}}], "batch": True}, 422, "whatsapp only"),
        ({"provider": "whatsapp", "events": [{"status": "read", "message_id": "no"}]}, 404, "no message no"),
        ({"provider": "whatsapp", "events": [{"status": "eaten", "message_id": "no"}]}, 422, "delivered"),
    ],
)
async def test_a_senseless_webhook_is_explained(client: Any, order: dict[str, Any], status: int, hint: str) -> None:
    answer = await client.http.post("/_sandbox/webhooks", json=order)
    assert answer.status_code == status
    assert hint in " ".join(answer.json()["errors"])


async def test_a_message_whose_answer_was_lost_tells_its_status_all_the_same(
    client: Any, receiver: Any, template: Body
) -> None:
    await client.configure("whatsapp", webhook={"url": receiver.url, "secret": "s"})
    await client.fault(provider="whatsapp", operation="send", kind="answer_lost", times=1)
    with pytest.raises(httpx.TransportError):
        await client.send(template() | {"biz_opaque_callback_data": "own-key"})
    (effect,) = await client.effects(provider="whatsapp")
    for status in ("sent", "delivered"):
        headers, raw = await receiver.next()
        assert headers["x-hub-signature-256"] == whatsapp_signature("s", raw)
        (told,) = json.loads(raw)["entry"][0]["changes"][0]["value"]["statuses"]
        assert (told["id"], told["status"], told["biz_opaque_callback_data"]) == (effect["id"], status, "own-key")


async def test_a_status_that_is_told_by_itself_is_retried_too(client: Any, receiver: Any, template: Body) -> None:
    receiver.answers = [503]
    hook = {"url": receiver.url, "secret": "s", "statuses": ["sent"], "retry_delays": [0, 0]}
    await client.configure("whatsapp", webhook=hook)
    await client.send(template())
    first, second = await received(receiver, 2)
    assert first == second

"""WhatsApp's webhooks: signed, lenient towards what is new, and the same event for the same news."""

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from llegada.messaging.transaction import Database

ADDRESS = "/api/webhooks/whatsapp"
SECRET = "app-secret-of-the-tests"


def news(*statuses: dict[str, Any], number: str = "100", field: str = "messages") -> bytes:
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": number}, "statuses": list(statuses)}
    entry = {"id": "WABA", "changes": [{"field": field, "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def status(name: str = "delivered", message: str = "wamid.1") -> dict[str, Any]:
    return {
        "id": message, "status": name, "timestamp": "1790000000", "recipient_id": "573001234567",
        "biz_opaque_callback_data": "reservation-17-confirmation-whatsapp-1-1-abc", "pricing": {"new": "field"},
    }  # fmt: skip


async def post(client: httpx.AsyncClient, content: bytes, signature: str | None = None) -> httpx.Response:
    signature = signature or "sha256=" + hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json", "Authorization": ""}
    return await client.post(ADDRESS, content=content, headers=headers)


async def events(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        rows = await connection.fetch("select * from outbox where type = 'notification.status' order by id")
    return [dict(row) for row in rows]


@pytest.mark.parametrize("kind", ["confirmation", "check_in_confirmation"])
async def test_a_status_becomes_an_event_with_our_own_key(
    client: httpx.AsyncClient, database: Database, kind: str
) -> None:
    key = f"reservation-17-{kind}-whatsapp-1-1-abc"
    assert (await post(client, news({**status(), "biz_opaque_callback_data": key}))).status_code == 200
    (row,) = await events(database)
    event = json.loads(row["body"])
    assert (event["status"], event["organization_id"]) == ("delivered", 1)
    assert event["own_key"] == key
    assert row["properties"]["headers"]["subject"] == "notification/wamid.1"


@pytest.mark.parametrize("key", ["somebody else's \x00 key", "x" * 200, None])
async def test_another_systems_key_is_not_taken_for_ours(
    client: httpx.AsyncClient, database: Database, key: str | None
) -> None:
    assert (await post(client, news({**status(), "biz_opaque_callback_data": key}))).status_code == 200
    (row,) = await events(database)
    assert json.loads(row["body"])["own_key"] is None


async def test_the_same_news_is_the_same_event_and_a_batch_is_taken_whole(
    client: httpx.AsyncClient, database: Database
) -> None:
    content = news(status("sent"), status("delivered"), status("sent"), status("delivered", "wamid.2"))
    for _ in range(2):
        assert (await post(client, content)).status_code == 200
    ids = [row["message_id"] for row in await events(database)]
    assert (len(ids), len(set(ids))) == (6, 3)


@pytest.mark.parametrize("signature", ["sha256=" + "0" * 64, "sha256=", "nonsense"])
async def test_a_wrong_signature_stores_nothing(client: httpx.AsyncClient, database: Database, signature: str) -> None:
    answer = await post(client, news(status()), signature)
    assert answer.status_code == 401
    assert await events(database) == []


async def test_a_missing_signature_stores_nothing(client: httpx.AsyncClient, database: Database) -> None:
    answer = await client.post(ADDRESS, content=news(status()), headers={"Content-Type": "application/json"})
    assert answer.status_code == 401
    assert await events(database) == []


@pytest.mark.parametrize(
    "content",
    [
        news(status(), number="999"),
        news(status("held_for_quality")),
        news(status(), field="account_update"),
        json.dumps({"object": "whatsapp_business_account", "entry": []}).encode(),
    ],
    ids=["unknown sender", "unknown status", "unknown field", "nothing"],
)
async def test_what_is_not_for_us_is_taken_and_ignored(
    client: httpx.AsyncClient, database: Database, content: bytes
) -> None:
    assert (await post(client, content)).status_code == 200
    assert await events(database) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"object": "page", "entry": []}', b"\xff\xfe"])
async def test_what_is_no_notification_is_refused_in_words(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await post(client, content)
    assert answer.status_code == 422
    assert "notification" in answer.json()["detail"]


async def test_a_thousand_updates_at_once_are_taken_and_four_megabytes_are_not(
    client: httpx.AsyncClient, database: Database
) -> None:
    assert (await post(client, news(*(status("sent", f"wamid.{n}") for n in range(1000))))).status_code == 200
    assert len(await events(database)) == 1000
    assert (await post(client, b" " * 4_000_000)).status_code == 413


async def test_metas_handshake(client: httpx.AsyncClient) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "verify-token-of-the-tests", "hub.challenge": "4711"}
    answer = await client.get(ADDRESS, params=asked)
    assert (answer.status_code, answer.text) == (200, "4711")
    assert (await client.get(ADDRESS, params={**asked, "hub.verify_token": "x"})).status_code == 401
    assert (await client.get(ADDRESS)).status_code == 401


async def test_a_guests_message_that_is_told_twice_is_stored_and_published_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    message = {"from": "573001234567", "timestamp": "1790000000", "type": "text", "text": {"body": "hola"}}

    async def tell(*numbers: int) -> None:
        written = [{**message, "id": f"wamid.{number}"} for number in numbers]
        value = {"metadata": {"phone_number_id": "100"}, "messages": written}
        entry = {"changes": [{"field": "messages", "value": value}]}
        content = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
        assert (await post(client, content)).status_code == 200

    await tell(1)
    await tell(1, 2)
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'guest.message_received' order by id")
        stored = await connection.fetch("select provider_message_id from guest_messages order by 1")
    assert [json.loads(row["body"])["provider_message_id"] for row in rows] == ["wamid.1", "wamid.2"]
    assert [row["provider_message_id"] for row in stored] == ["wamid.1", "wamid.2"]


async def test_a_guests_text_with_a_nul_is_taken_without_it(client: httpx.AsyncClient, database: Database) -> None:
    value = {
        "metadata": {"phone_number_id": "100"},
        "contacts": [{"wa_id": "573001234567", "profile": {"name": "A\x00na"}}],
        "messages": [
            {
                "id": "wamid.9",
                "from": "573001234567",
                "timestamp": "1790000000",
                "type": "text",
                "text": {"body": "a\x00b"},
            }
        ],
    }
    entry = {"changes": [{"field": "messages", "value": value}]}
    content = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    assert (await post(client, content)).status_code == 200
    async with database.connection() as connection:
        (row,) = await connection.fetch("select body from outbox where type = 'guest.message_received'")
    event = json.loads(row["body"])
    assert (event["name"], event["text"]) == ("Ana", "ab")


async def test_one_update_of_another_shape_keeps_no_other_from_being_heard(
    client: httpx.AsyncClient, database: Database
) -> None:
    written = {
        "id": "wamid.m",
        "from": "573001234567",
        "timestamp": "1790000000",
        "type": "text",
        "text": {"body": "a"},
    }
    strange = {**written, "id": "wamid.n", "from": None, "user_id": "CO.1"}
    value = {
        "metadata": {"phone_number_id": "100"},
        "contacts": [{"user_id": "CO.1"}, {"wa_id": "573001234567", "profile": {"name": "Ana"}}],
        "messages": [strange, written],
        "statuses": [{"id": "wamid.x"}, status()],
    }
    entry = {"changes": [{"field": "messages", "value": value}]}
    content = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    assert (await post(client, content)).status_code == 200
    assert len(await events(database)) == 1
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'guest.message_received'")
    assert [json.loads(row["body"])["name"] for row in rows] == ["Ana"]

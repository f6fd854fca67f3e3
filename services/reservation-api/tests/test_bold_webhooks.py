"""Bold's webhooks: signed with the merchant's key, the same event for the same news, forged ones change nothing."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from llegada.messaging.transaction import Database
from reservation_api.webhooks.bold import signers

ADDRESS = "/api/webhooks/bold"
SECRET = "bold-secret-of-the-tests"


def sale(**changes: Any) -> bytes:
    data = {"payment_id": "P1", "amount": {"currency": "COP", "total": 180000}, "metadata": {"reference": "r-1"}}
    known = {"id": "8c1f", "type": "SALE_APPROVED", "time": 1761060600000000000, "data": data, "source": "/payments"}
    return json.dumps({**known, **changes}).encode()


def signature(content: bytes, key: str = SECRET) -> str:
    return hmac.new(key.encode(), base64.b64encode(content), hashlib.sha256).hexdigest()


async def post(client: httpx.AsyncClient, content: bytes, signed: str | None = None) -> httpx.Response:
    headers = {"x-bold-signature": signed or signature(content), "Content-Type": "application/json"}
    return await client.post(ADDRESS, content=content, headers={**headers, "Authorization": ""})


async def events(database: Database) -> list[Any]:
    async with database.connection() as connection:
        return await connection.fetch("select * from outbox where type = 'payment.webhook_received' order by id")


async def test_a_payment_becomes_an_event_of_the_organization_that_signed(
    client: httpx.AsyncClient, database: Database
) -> None:
    assert (await post(client, sale())).status_code == 200
    (row,) = await events(database)
    event = json.loads(row["body"])
    assert (event["organization_id"], event["payment_id"], event["total"]) == (1, "P1", 180000)
    assert event["at"].startswith("2025-10-21T15:30:00")


async def test_a_repetition_is_the_same_event(client: httpx.AsyncClient, database: Database) -> None:
    for _ in range(3):
        assert (await post(client, sale())).status_code == 200
    assert len({row["message_id"] for row in await events(database)}) == 1


@pytest.mark.parametrize("key", ["", "wrong", SECRET.upper()])
async def test_a_forged_one_changes_nothing(client: httpx.AsyncClient, database: Database, key: str) -> None:
    answer = await post(client, sale(), signature(sale(), key))
    assert answer.status_code == 401
    assert await events(database) == []


async def test_an_altered_body_is_forged(client: httpx.AsyncClient, database: Database) -> None:
    answer = await post(client, sale(id="other"), signature(sale()))
    assert answer.status_code == 401
    assert await events(database) == []


@pytest.mark.parametrize("content", [b"[]", b"{", sale(type="SALE_IMAGINED"), sale(data={})])
async def test_what_is_signed_but_no_notification_is_refused_clearly(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await post(client, content)
    assert answer.status_code == 422
    assert "notification of Bold" in answer.json()["detail"]


def test_the_signature_is_bolds_published_one() -> None:
    body = b'{"id":"abc","type":"SALE_APPROVED"}'
    assert signature(body, "test-secret") == "5a016b6a1e0025d981be2e03ace60f236401402a72b11d256a8e1f39349f56fc"
    assert signature(body, "") == "7f0e550c9c47ac1693f67691de96b5bc82c96940abe6ea7a76c98814f6f88863"
    assert signers({}, None, body, signature(body, "")) == []
    assert signers({}, 1, body, signature(body, "")) == [1]
    shared = {1: SecretStr("key"), 2: SecretStr("key"), 3: SecretStr("other")}
    assert signers(shared, None, body, signature(body, "key")) == [1, 2]

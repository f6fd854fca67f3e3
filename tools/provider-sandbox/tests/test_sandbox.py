"""The sandbox as a client meets it: a real server, real clients."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import httpx
import pytest
import pytest_asyncio
import uvicorn

from llegada.testing.eventually import eventually
from provider_sandbox import smtp
from provider_sandbox.app import Sandbox
from provider_sandbox.webhooks import bold_signature, whatsapp_signature

KEY = {"Authorization": "x-api-key merchant-1"}
TOKEN = {"Authorization": "Bearer token"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture
async def mail_port() -> int:
    return free_port()


@pytest_asyncio.fixture
async def client(mail_port: int) -> AsyncGenerator[httpx.AsyncClient]:
    sandbox, port = Sandbox(), free_port()
    mail = await smtp.start(sandbox.mailbox, "127.0.0.1", mail_port)
    config = uvicorn.Config(sandbox.app, port=port, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as made:
        yield made
    server.should_exit = True
    await task
    mail.close()
    await mail.wait_closed()


def link(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "amount_type": "CLOSE",
        "amount": {"currency": "COP", "total_amount": 180_000, "tip_amount": 0, "taxes": []},
        "reference": "reservation-1-1",
        "expiration_date": time.time_ns() + 10**12,
    }
    return body | changes


def template(**changes: Any) -> dict[str, Any]:
    parameters = [{"type": "text", "text": text} for text in ("Ana", "https://a.test", "https://b.test")]
    inner = {
        "name": "reservation_checkin_invitation",
        "language": {"code": "es"},
        "components": [{"type": "body", "parameters": parameters}],
    }
    return {"messaging_product": "whatsapp", "to": "573001234567", "type": "template", "template": inner | changes}


async def effects(client: httpx.AsyncClient, **filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/_sandbox/effects", params=filters)).json()
    return found


async def fault(client: httpx.AsyncClient, **order: Any) -> int:
    answer = await client.post("/_sandbox/faults", json=order)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


async def test_a_link_is_made_and_found(client: httpx.AsyncClient) -> None:
    made = (await client.post("/bold/online/link/v1", json=link(), headers=KEY)).json()["payload"]
    status = (await client.get(f"/bold/online/link/v1/{made['payment_link']}", headers=KEY)).json()
    assert (status["status"], status["total"], status["reference"]) == ("ACTIVE", 180_000, "reservation-1-1")
    (effect,) = await effects(client, provider="bold")
    assert (effect["account"], effect["id"]) == ("merchant-1", made["payment_link"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (link(amount={"currency": "COP", "total_amount": 1.5}), 403),
        (link(reference=None), 403),
        (link(reference="a b"), 400),
        (link(reference="a" * 61), 400),
        (link(amount={"currency": "COP", "total_amount": -1}), 400),
        (link(amount={"currency": "COP", "total_amount": 999}), 422),
        (link(expiration_date=1), 400),
        (link(callback_url="http://a.test"), 400),
        (link(description="x"), 400),
        (link(amount_type="OTHER"), 400),
        (link(payment_methods=["CASH"]), 400),
    ],
)
async def test_bold_refuses_what_the_real_one_refuses(
    client: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    answer = await client.post("/bold/online/link/v1", json=body, headers=KEY)
    assert answer.status_code == status
    assert await effects(client) == []


async def test_bold_wants_its_scheme_word(client: httpx.AsyncClient) -> None:
    answer = await client.post("/bold/online/link/v1", json=link(), headers={"Authorization": "Bearer merchant-1"})
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


async def test_whatsapp_accepts_a_template(client: httpx.AsyncClient) -> None:
    body = template() | {"biz_opaque_callback_data": "own-key"}
    answer = await client.post("/whatsapp/v23.0/1000000001/messages", json=body, headers=TOKEN)
    assert answer.json()["messages"][0]["message_status"] == "accepted"
    (effect,) = await effects(client, provider="whatsapp", recipient="573001234567")
    assert effect["reference"] == "own-key"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (template(name="unknown"), 132001),
        (template(language={"code": "es_CO"}), 132001),
        (template(components=[]), 132000),
        (template() | {"to": "abc"}, 131009),
        (template() | {"type": "dance"}, 131051),
        ({"messaging_product": "whatsapp", "to": "573001234567", "type": "text", "text": {"body": "Hola"}}, 131047),
    ],
)
async def test_whatsapp_refuses_what_the_real_one_refuses(
    client: httpx.AsyncClient, body: dict[str, Any], code: int
) -> None:
    answer = await client.post("/whatsapp/v23.0/1000000001/messages", json=body, headers=TOKEN)
    assert answer.json()["error"]["code"] == code
    assert await effects(client) == []


async def test_a_window_lets_text_through(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/windows", json={"phone_number_id": "1000000001", "wa_id": "573001234567"})
    body = {"messaging_product": "whatsapp", "to": "573001234567", "type": "text", "text": {"body": "Hola"}}
    answer = await client.post("/whatsapp/v23.0/1000000001/messages", json=body, headers=TOKEN)
    assert answer.status_code == 200


@pytest.mark.parametrize(("kind", "made"), [("answer_lost", 1), ("cut", 0), ("down", 0)])
async def test_a_cut_is_seen_as_a_cut(client: httpx.AsyncClient, kind: str, made: int) -> None:
    await fault(client, provider="bold", kind=kind, times=1)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await client.post("/bold/online/link/v1", json=link(), headers=KEY)
    assert len(await effects(client)) == made
    assert (await client.post("/bold/online/link/v1", json=link(), headers=KEY)).status_code == 200


async def test_a_time_out_has_no_answer_and_no_effect(client: httpx.AsyncClient) -> None:
    await fault(client, provider="bold", kind="timeout", times=1)
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/bold/online/link/v1", json=link(), headers=KEY, timeout=0.2)
    assert await effects(client) == []


async def test_status_is_a_gateways_and_provider_error_is_the_providers(client: httpx.AsyncClient) -> None:
    await fault(client, provider="bold", kind="status", value=502, times=1)
    await fault(client, provider="bold", kind="provider_error", value={"status": 500, "code": "AP001"}, times=1)
    first = await client.post("/bold/online/link/v1", json=link(), headers=KEY)
    second = await client.post("/bold/online/link/v1", json=link(), headers=KEY)
    assert (first.status_code, first.headers["content-type"][:9]) == (502, "text/html")
    assert (second.status_code, second.json()["errors"][0]["code"]) == (500, "AP001")


async def test_a_fault_of_another_account_does_not_hit(client: httpx.AsyncClient) -> None:
    await fault(client, provider="bold", account="merchant-2", kind="cut")
    assert (await client.post("/bold/online/link/v1", json=link(), headers=KEY)).status_code == 200


async def test_the_same_seed_hits_the_same_requests(client: httpx.AsyncClient) -> None:
    async def statuses() -> list[int]:
        number = await fault(client, provider="bold", kind="status", value=503, probability=0.5, seed=7)
        answers = [await client.post("/bold/online/link/v1", json=link(), headers=KEY) for _ in range(12)]
        await client.delete(f"/_sandbox/faults/{number}")
        return [answer.status_code for answer in answers]

    first = await statuses()
    assert set(first) == {200, 503}
    assert await statuses() == first


@pytest.mark.parametrize(
    "order", [{"provider": "nobody", "kind": "cut"}, {"provider": "bold", "kind": "status"}, {"provider": "bold"}]
)
async def test_a_senseless_fault_is_explained(client: httpx.AsyncClient, order: dict[str, Any]) -> None:
    answer = await client.post("/_sandbox/faults", json=order)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@hostal.test", "b@guest.test", "Hola"
    message["Message-ID"] = "<own@hostal.test>"
    message.set_content("Hola Ana")
    return message


async def test_mail_is_kept(client: httpx.AsyncClient, mail_port: int) -> None:
    await aiosmtplib.send(mail(), hostname="127.0.0.1", port=mail_port, start_tls=False)
    (effect,) = await effects(client, provider="smtp")
    assert (effect["recipient"], effect["reference"]) == ("b@guest.test", "<own@hostal.test>")


async def test_mail_meets_faults_too(client: httpx.AsyncClient, mail_port: int) -> None:
    await fault(client, provider="smtp", operation="data", kind="provider_error", value="451 4.3.2 later", times=1)
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await aiosmtplib.send(mail(), hostname="127.0.0.1", port=mail_port, start_tls=False)
    assert refused.value.code == 451
    assert await effects(client) == []


def test_signatures_are_those_of_the_providers() -> None:
    bold = b'{"id":"abc","type":"SALE_APPROVED"}'
    assert bold_signature("test-secret", bold) == "5a016b6a1e0025d981be2e03ace60f236401402a72b11d256a8e1f39349f56fc"
    assert bold_signature("", bold) == "7f0e550c9c47ac1693f67691de96b5bc82c96940abe6ea7a76c98814f6f88863"
    meta = b'{"object":"whatsapp_business_account","entry":[]}'
    expected = "sha256=d3e4f9da0ce6c71ab3dba55929b8eeeee2455349e534924ead19f98d143e904f"
    assert whatsapp_signature("app-secret", meta) == expected

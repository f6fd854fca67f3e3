"""WhatsApp's contract, as a client meets it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from provider_sandbox.whatsapp_limits import Limits

Template = Callable[..., dict[str, Any]]


def text(body: Any = "Hola", to: str = "573001234567", **more: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": body}, **more}


async def open_window(client: Any, **order: Any) -> None:
    answer = await client.http.post("/_sandbox/windows", json={"wa_id": "573001234567", **order})
    assert answer.status_code == 204


async def test_a_template_is_accepted(client: Any, template: Template) -> None:
    answer = await client.send(template() | {"biz_opaque_callback_data": "own-key"})
    body = answer.json()
    assert (answer.status_code, body["messages"][0]["message_status"]) == (200, "accepted")
    assert body["contacts"] == [{"input": "573001234567", "wa_id": "573001234567"}]
    (effect,) = await client.effects(provider="whatsapp")
    assert (effect["id"], effect["reference"]) == (body["messages"][0]["id"], "own-key")
    assert (effect["account"], effect["recipient"], effect["operation"]) == ("1000000001", "573001234567", "send")
    assert (effect["template"], effect["language"]) == ("reservation_checkin_invitation", "es")
    assert effect["parameters"] == ["Ana", "https://a.test", "https://b.test"]
    assert effect["content"] == template()["template"]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("reservation_checkin_invitation", "en"),
        ("reservation_checkin_invitation", "de"),
        ("reservation_checkin_invitation_", "en"),
    ],
)
async def test_the_templates_of_the_owner_are_known(client: Any, template: Template, name: str, language: str) -> None:
    assert (await client.send(template(name=name, language={"code": language}))).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"name": "unknown"}, 404, 132001),
        ({"language": {"code": "es_CO"}}, 404, 132001),
        ({"name": "reservation_checkin_invitation_"}, 404, 132001),
        ({"components": []}, 400, 132000),
        ({"components": [{"type": "body", "parameters": [{"type": "text"}]}]}, 400, 131008),
        ({"components": "none"}, 400, 131008),
        ({"language": None}, 400, 131008),
    ],
)
async def test_a_template_must_fit_the_registry(
    client: Any, template: Template, changes: dict[str, Any], status: int, code: int
) -> None:
    answer = await client.send(template(**changes))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert await client.effects() == []


@pytest.mark.parametrize("wrong", ["a\nb", "a\tb", "a     b"])
async def test_a_parameter_has_no_line_breaks_tabs_or_many_spaces(client: Any, template: Template, wrong: str) -> None:
    assert (await client.send(template(wrong, "b", "c"))).json()["error"]["code"] == 132012
    assert (await client.send(template("a    b", "b", "c"))).status_code == 200


async def test_a_filled_in_template_can_be_too_long(client: Any, template: Template) -> None:
    assert (await client.send(template("a" * 1023, "b", "c"))).json()["error"]["code"] == 132005


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (text(messaging_product="sms"), 100),
        (text(to="abc"), 131009),
        (text(to="+57 300 123"), 131009),
        (text(to="123"), 131009),
        (text(type="dance"), 131051),
        (text(biz_opaque_callback_data="x" * 513), 100),
        (text(body=""), 131008),
        (text(body="x" * 4097), 100),
        ([], 100),
    ],
)
async def test_a_message_must_have_whatsapps_form(client: Any, body: Any, code: int) -> None:
    await open_window(client)
    answer = await client.send(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert await client.effects() == []


async def test_the_error_body_is_metas(client: Any) -> None:
    error = (await client.send(text())).json()["error"]
    assert (error["message"], error["type"]) == ("(#131047) Re-engagement message", "OAuthException")
    assert error["error_data"]["messaging_product"] == "whatsapp"
    assert "24 hours" in error["error_data"]["details"]
    assert error["fbtrace_id"].startswith("A")


@pytest.mark.parametrize("token", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer expired"}])
async def test_a_token_is_checked(client: Any, template: Template, token: dict[str, str]) -> None:
    await client.http.post("/_sandbox/accounts", json={"provider": "whatsapp", "refused": ["expired"]})
    answer = await client.send(template(), token=token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 190)


async def test_a_sender_must_be_known(client: Any, template: Template) -> None:
    assert (await client.send(template(), number="me")).json()["error"]["code"] == 100
    await client.configure("whatsapp", phone_number_ids=["1000000002"])
    assert (await client.send(template())).json()["error"]["code"] == 100
    assert (await client.send(template(), number="1000000002")).status_code == 200


@pytest.mark.parametrize("path", ["/whatsapp/23/1/messages", "/whatsapp/v23.0/1/texts"])
async def test_an_unknown_path_is_an_error_of_metas(client: Any, path: str) -> None:
    assert (await client.http.post(path, json={})).json()["error"]["type"] == "OAuthException"


@pytest.mark.parametrize(
    ("window", "status"),
    [
        ({}, 200),
        ({"phone_number_id": "1000000001"}, 200),
        ({"wa_id": "+573001234567"}, 200),
        ({"phone_number_id": "1000000002"}, 400),
        ({"wa_id": "573009999999"}, 400),
        ({"age_seconds": 24 * 3600 - 60}, 200),
        ({"age_seconds": 24 * 3600 + 60}, 400),
    ],
)
async def test_text_needs_an_open_window(client: Any, window: dict[str, Any], status: int) -> None:
    await open_window(client, **window)
    assert (await client.send(text())).status_code == status
    assert len(await client.effects(type="text")) == (1 if status == 200 else 0)


async def test_a_refused_window_can_be_told_by_webhook(client: Any, receiver: Any) -> None:
    hook = {"url": receiver.url, "secret": "app-secret"}
    await client.configure("whatsapp", webhook=hook, window_refusal="webhook")
    answer = await client.send(text(biz_opaque_callback_data="own-key"))
    assert answer.status_code == 200
    _, raw = await receiver.next()
    (status,) = json.loads(raw)["entry"][0]["changes"][0]["value"]["statuses"]
    assert (status["status"], status["errors"][0]["code"]) == ("failed", 131047)
    assert (status["id"], status["biz_opaque_callback_data"]) == (answer.json()["messages"][0]["id"], "own-key")
    assert await client.effects() == []


async def test_status_webhooks_can_come_by_themselves(client: Any, receiver: Any, template: Template) -> None:
    await client.configure("whatsapp", webhook={"url": receiver.url, "secret": "s", "statuses": ["sent", "read"]})
    await client.send(template())
    raws = [(await receiver.next())[1] for _ in range(2)]
    values = [json.loads(raw)["entry"][0]["changes"][0]["value"] for raw in raws]
    assert [value["statuses"][0]["status"] for value in values] == ["sent", "read"]


async def test_a_refusal_that_nobody_would_hear_is_not_accepted(client: Any) -> None:
    answer = await client.http.patch("/_sandbox/settings/whatsapp", json={"window_refusal": "webhook"})
    assert answer.status_code == 422
    assert "needs webhook" in answer.text


async def test_a_number_can_be_out_of_reach(client: Any, template: Template) -> None:
    await client.configure("whatsapp", refused_recipients={"573001234567": 131026})
    assert (await client.send(template())).json()["error"]["code"] == 131026
    assert (await client.send(template() | {"to": "573007654321"})).status_code == 200


@pytest.mark.parametrize(("status", "code"), [("PAUSED", 132015), ("DISABLED", 132016)])
async def test_a_template_can_be_stopped(client: Any, template: Template, status: str, code: int) -> None:
    known = {"name": "reservation_checkin_invitation", "language": "es", "parameters": 3, "status": status}
    await client.configure("whatsapp", templates=[known])
    assert (await client.send(template())).json()["error"]["code"] == code


async def test_a_wa_id_may_differ_from_what_was_asked(client: Any, template: Template) -> None:
    answer = await client.send(template() | {"to": "+525512345678"})
    assert answer.json()["contacts"] == [{"input": "+525512345678", "wa_id": "5215512345678"}]
    (effect,) = await client.effects()
    assert (effect["recipient"], effect["wa_id"]) == ("525512345678", "5215512345678")


async def test_limits_hold_only_when_switched_on(client: Any, template: Template) -> None:
    assert {(await client.send(template())).status_code for _ in range(46)} == {200}
    await client.configure("whatsapp", rate_limits=True)
    codes = [(await client.send(template())).json().get("error", {}).get("code") for _ in range(46)]
    assert codes == [None] * 45 + [131056]


def test_a_pair_waits_six_seconds_after_its_burst() -> None:
    limits, start = Limits(), time.monotonic()
    assert {limits.refusal("1", "57", 80, start) for _ in range(45)} == {None}
    assert limits.refusal("1", "57", 80, start + 5.9) == 131056
    assert limits.refusal("1", "57", 80, start + 6.1) is None
    assert limits.refusal("1", "57", 80, start + 6.2) == 131056


def test_a_number_sends_so_many_a_second() -> None:
    limits = Limits()
    assert {limits.refusal("1", f"57{guest}", 80, 0.0) for guest in range(80)} == {None}
    assert limits.refusal("1", "5799", 80, 0.99) == 130429
    assert limits.refusal("2", "5799", 80, 0.99) is None
    assert limits.refusal("1", "5799", 80, 1.01) is None

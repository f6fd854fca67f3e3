"""Bold's contract, as a client meets it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

Link = Callable[..., dict[str, Any]]
COP = "COP"


def amount(total: Any, **more: Any) -> dict[str, Any]:
    return {"currency": COP, "total_amount": total, **more}


async def test_a_link_is_made_and_found(client: Any, link: Link) -> None:
    made = (await client.create_link(link())).json()
    assert made["errors"] == []
    link_id = made["payload"]["payment_link"]
    assert made["payload"]["url"] == f"https://checkout.bold.co/{link_id}"
    answer = await client.http.get(f"/bold/online/link/v1/{link_id}", headers={"Authorization": "x-api-key merchant-1"})
    status = answer.json()
    assert (status["id"], status["status"], status["total"]) == (link_id, "ACTIVE", 180_000)
    assert (status["reference"], status["description"], status["payment_method"]) == ("RES-17-1", "Reserva 17", None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reference": "a b"}, "AP006"),
        ({"reference": "a" * 61}, "AP006"),
        ({"reference": "RES-1\n"}, "AP006"),
        ({"reference": 17}, "AP006"),
        ({"amount": amount(-1)}, "AP006"),
        ({"amount": amount("180000")}, "AP006"),
        ({"amount": amount(True)}, "AP006"),
        ({"amount": amount(999)}, "AP001"),
        ({"amount": amount(10_000_001)}, "AP001"),
        ({"amount": amount(6_000_000), "payment_methods": ["PSE", "NEQUI"]}, "AP001"),
        ({"amount": {"currency": "EUR", "total_amount": 5000}}, "AP006"),
        ({"amount": amount(5000, tip_amount=1.5)}, "AP006"),
        ({"amount": amount(5000, taxes=[{"type": "VAT"}])}, "AP006"),
        ({"amount": amount(5000, taxes=[{"type": "VAT", "base": 5000, "value": 6000}])}, "AP002"),
        ({"amount": None}, "AP005"),
        ({"amount_type": "OTHER"}, "AP005"),
        ({"expiration_date": 1}, "AP006"),
        ({"expiration_date": "tomorrow"}, "AP006"),
        ({"expiration_date": (time.time_ns() + 10**15) // 10**6}, "AP006"),  # milliseconds
        ({"callback_url": "http://a.test"}, "AP006"),
        ({"callback_url": "https://"}, "AP006"),
        ({"image_url": "a.png"}, "AP006"),
        ({"description": "x"}, "AP006"),
        ({"description": "x" * 101}, "AP006"),
        ({"payment_methods": ["CASH"]}, "AP003"),
        ({"payment_methods": "PSE"}, "AP006"),
    ],
)
async def test_what_bold_refuses_has_no_effect(client: Any, link: Link, changes: dict[str, Any], code: str) -> None:
    answer = await client.create_link(link(**changes))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)
    assert await client.effects() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "a" * 60},
        {"description": "xx"},
        {"description": None},
        {"expiration_date": None},
        {"callback_url": "https://a.test/b"},
        {"amount": amount(1_000)},
        {"amount": amount(10_000_000)},
        {"amount_type": "OPEN", "amount": None},
        {"payment_methods": ["NEQUI"]},
        {"unknown_field": 1},
    ],
)
async def test_bold_takes_all_that_its_rules_allow(client: Any, link: Link, changes: dict[str, Any]) -> None:
    assert (await client.create_link(link(**changes))).status_code == 200


@pytest.mark.parametrize("changes", [{"amount": amount(180_000.0)}, {"reference": None}, {"reference": ""}])
async def test_some_mistakes_look_like_a_wrong_key(client: Any, link: Link, changes: dict[str, Any]) -> None:
    answer = await client.create_link(link(**changes))
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer k"}, {"Authorization": "x-api-key"}, {"x-api-key": "k"}]
)
async def test_bold_wants_its_own_scheme_word(client: Any, link: Link, header: dict[str, str]) -> None:
    answer = await client.create_link(link(), header)
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


async def test_a_refused_key_is_forbidden(client: Any, link: Link) -> None:
    await client.http.post("/_sandbox/accounts", json={"provider": "bold", "refused": ["merchant-1"]})
    assert (await client.create_link(link())).status_code == 403
    assert (await client.create_link(link(), {"Authorization": "x-api-key merchant-2"})).status_code == 200


async def test_with_known_keys_all_others_are_forbidden(client: Any, link: Link) -> None:
    await client.http.post("/_sandbox/accounts", json={"provider": "bold", "known": ["merchant-2"]})
    assert (await client.create_link(link())).status_code == 403


async def test_a_body_that_is_no_json_is_an_error(client: Any) -> None:
    answer = await client.http.post(
        "/bold/online/link/v1", content=b"{", headers={"Authorization": "x-api-key merchant-1"}
    )
    assert (answer.status_code, answer.json()["payload"]) == (400, {})


async def test_an_unknown_path_is_the_gateways(client: Any) -> None:
    answer = await client.http.get("/bold/v2/links")
    assert (answer.status_code, answer.json()) == (403, {"message": "Missing Authentication Token"})


async def test_limits_belong_to_a_merchant(client: Any, link: Link) -> None:
    own = {"PSE": {"min": 200_000, "max": 300_000}}
    await client.configure("bold", merchant_payment_methods={"merchant-1": own})
    path, key = "/bold/online/link/v1/payment_methods", {"Authorization": "x-api-key merchant-1"}
    shown = (await client.http.get(path, headers=key)).json()
    assert shown == {"payload": {"payment_methods": own}, "errors": []}
    assert (await client.create_link(link())).status_code == 400
    assert (await client.create_link(link(), {"Authorization": "x-api-key merchant-2"})).status_code == 200


async def test_a_duplicate_reference_is_taken_or_refused_as_switched(client: Any, link: Link) -> None:
    body = link(reference=f"RES-{time.time_ns()}")
    first, second = await client.create_link(body), await client.create_link(body)
    assert first.json()["payload"]["payment_link"] != second.json()["payload"]["payment_link"]
    await client.configure("bold", duplicate_reference="reject")
    assert (await client.create_link(body)).status_code == 409
    assert len(await client.effects(reference=body["reference"])) == 2


async def status_of(client: Any, link_id: str, key: str = "merchant-1") -> dict[str, Any]:
    answer = await client.http.get(f"/bold/online/link/v1/{link_id}", headers={"Authorization": f"x-api-key {key}"})
    found: dict[str, Any] = answer.json()
    return found


async def test_a_link_expires_by_itself(client: Any, link: Link) -> None:
    made = await client.create_link(link(expiration_date=time.time_ns() + 150_000_000))
    async with asyncio.timeout(5):
        while (await status_of(client, made.json()["payload"]["payment_link"]))["status"] != "EXPIRED":
            pass


async def test_a_link_goes_through_its_states(client: Any, link: Link) -> None:
    link_id = (await client.create_link(link())).json()["payload"]["payment_link"]
    for status in ("PROCESSING", "REJECTED", "ACTIVE", "CANCELLED"):
        answer = await client.http.patch(f"/_sandbox/links/{link_id}", json={"status": status})
        assert answer.status_code == 204
        assert (await status_of(client, link_id))["status"] == status


async def test_the_status_can_come_in_an_envelope(client: Any, link: Link) -> None:
    link_id = (await client.create_link(link())).json()["payload"]["payment_link"]
    await client.configure("bold", status_shape="enveloped")
    assert (await status_of(client, link_id))["payload"]["id"] == link_id


async def test_a_link_of_another_merchant_is_not_found(client: Any, link: Link) -> None:
    link_id = (await client.create_link(link())).json()["payload"]["payment_link"]
    assert (await status_of(client, link_id, "merchant-2"))["errors"][0]["message"] == "link not found"


async def test_a_missed_webhook_can_be_asked_for(client: Any, link: Link) -> None:
    body = link(reference=f"RES-{time.time_ns()}")
    link_id = (await client.create_link(body)).json()["payload"]["payment_link"]
    sales = [{"type": "SALE_REJECTED", "link": link_id}, {"type": "SALE_APPROVED", "link": link_id}]
    await client.http.post("/_sandbox/webhooks", json={"provider": "bold", "events": sales})
    assert (await status_of(client, link_id))["status"] == "PAID"
    path, key = "/bold/payments/webhook/notifications", {"Authorization": "x-api-key merchant-1"}
    answer = await client.http.get(f"{path}/{body['reference']}?is_external_reference=true", headers=key)
    events = answer.json()["notifications"]
    assert [event["type"] for event in events] == ["SALE_REJECTED", "SALE_APPROVED"]
    answer = await client.http.get(f"{path}/{events[-1]['subject']}", headers=key)
    assert answer.json()["notifications"] == events[-1:]
    assert (await client.http.get(f"{path}/unknown", headers=key)).json() == {"notifications": []}

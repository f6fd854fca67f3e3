"""Each kind of fault, met by a real client over HTTP."""

import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from provider_sandbox.faults import FaultRequest, Faults, draw

Body = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(("kind", "made"), [("answer_lost", 1), ("cut", 0), ("down", 0)])
@pytest.mark.parametrize("provider", ["bold", "whatsapp"])
async def test_a_cut_is_seen_as_a_cut(
    client: Any, link: Body, template: Body, provider: str, kind: str, made: int
) -> None:
    await client.fault(provider=provider, kind=kind, times=1)

    async def call() -> httpx.Response:
        answer: httpx.Response = await (client.create_link(link()) if provider == "bold" else client.send(template()))
        return answer

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await call()
    assert len(await client.effects(provider=provider)) == made
    assert (await call()).status_code == 200


@pytest.mark.parametrize(("value", "made"), [({}, 0), ({"value": "after_effect"}, 1)])
async def test_a_time_out_has_no_answer(client: Any, link: Body, value: dict[str, str], made: int) -> None:
    await client.fault(provider="bold", kind="timeout", times=1, **value)
    with pytest.raises(httpx.ReadTimeout):
        await client.create_link(link(), timeout=0.2)
    assert len(await client.effects()) == made


async def test_a_request_that_the_client_gave_up_has_its_effect(client: Any, link: Body) -> None:
    await client.fault(provider="bold", kind="latency", value=0.5, times=1)
    with pytest.raises(httpx.ReadTimeout):
        await client.create_link(link(), timeout=0.1)
    await client.settled()
    assert len(await client.effects()) == 1


@pytest.mark.parametrize("value", [0.3, {"uniform": [0.3, 0.4]}, {"lognormal": [0.3, 0]}])
async def test_latency_is_waited_for(client: Any, link: Body, value: Any) -> None:
    await client.fault(provider="bold", operation="create_link", kind="latency", value=value)
    started = time.monotonic()
    assert (await client.create_link(link())).status_code == 200
    assert time.monotonic() - started >= 0.29


@pytest.mark.parametrize("value", [502, {"status": 503}])
async def test_status_is_a_gateways(client: Any, link: Body, value: Any) -> None:
    await client.fault(provider="bold", kind="status", value=value, times=1)
    answer = await client.create_link(link())
    assert (answer.status_code, answer.headers["content-type"][:9]) in {(502, "text/html"), (503, "text/html")}
    assert await client.effects() == []


async def test_a_status_can_ask_to_wait(client: Any, link: Body) -> None:
    await client.fault(provider="bold", kind="status", value={"status": 429, "retry_after": 7})
    answer = await client.create_link(link())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("AP004", 400, "AP004"),
        ({"status": 500, "code": "AP004"}, 500, "AP004"),
        ({"code": "AP004"}, 400, "AP004"),
        ({"status": 500}, 500, "AP001"),
    ],
)
async def test_a_provider_error_has_bolds_envelope(client: Any, link: Body, value: Any, status: int, code: str) -> None:
    await client.fault(provider="bold", kind="provider_error", value=value)
    answer = await client.create_link(link())
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (0, 401), (190, 401), (3, 500), (10, 403), (200, 403), (299, 403), (368, 403), (130497, 403), (4, 429),
        (131026, 400), (132001, 404), (131000, 500), (131016, 503), ({"code": 130429, "status": 400}, 400),
    ],
)  # fmt: skip
async def test_a_provider_error_has_metas_status(client: Any, template: Body, value: Any, status: int) -> None:
    await client.fault(provider="whatsapp", kind="provider_error", value=value)
    answer = await client.send(template())
    code = value["code"] if isinstance(value, dict) else value
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert await client.effects() == []


@pytest.mark.parametrize("aim", [{"account": "merchant-2"}, {"operation": "link_status"}, {"provider": "whatsapp"}])
async def test_a_fault_aimed_elsewhere_does_not_hit(client: Any, link: Body, aim: dict[str, str]) -> None:
    await client.fault(**({"provider": "bold", "kind": "cut"} | aim))
    assert (await client.create_link(link())).status_code == 200


async def test_a_fault_hits_so_many_times_and_counts(client: Any, link: Body) -> None:
    number = await client.fault(provider="bold", kind="status", value=503, times=2)
    statuses = [(await client.create_link(link())).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    (shown,) = (await client.http.get("/_sandbox/faults")).json()
    assert (shown["id"], shown["hits"], shown["over"]) == (number, 2, True)


async def test_the_same_seed_hits_the_same_requests(client: Any, link: Body) -> None:
    async def statuses() -> list[int]:
        number = await client.fault(provider="bold", kind="status", value=503, probability=0.5, seed=7)
        answers = [await client.create_link(link()) for _ in range(12)]
        await client.http.delete(f"/_sandbox/faults/{number}")
        return [answer.status_code for answer in answers]

    first = await statuses()
    assert set(first) == {200, 503}
    assert await statuses() == first


async def test_a_fault_can_be_taken_back(client: Any, link: Body) -> None:
    number = await client.fault(provider="bold", kind="cut")
    assert (await client.http.delete(f"/_sandbox/faults/{number}")).status_code == 204
    assert (await client.create_link(link())).status_code == 200
    assert (await client.http.delete(f"/_sandbox/faults/{number}")).status_code == 404
    await client.fault(provider="bold", kind="cut")
    assert (await client.http.delete("/_sandbox/faults")).status_code == 204
    assert (await client.http.get("/_sandbox/faults")).json() == []


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        ({"provider": "nobody", "kind": "cut"}, "'ttlock' or 'sire'"),
        ({"provider": "bold"}, "kind"),
        ({"provider": "bold", "kind": "explode"}, "answer_lost"),
        ({"provider": "bold", "kind": "cut", "operation": "send"}, "create_link"),
        ({"provider": "bold", "kind": "cut", "tmies": 1}, "tmies"),
        ({"provider": "bold", "kind": "cut", "times": 0}, "times"),
        ({"provider": "bold", "kind": "cut", "probability": 1.5}, "probability"),
        ({"provider": "bold", "kind": "cut", "value": 1}, "takes no value"),
        ({"provider": "bold", "kind": "status"}, "300 to 599"),
        ({"provider": "bold", "kind": "status", "value": 200}, "300 to 599"),
        ({"provider": "smtp", "kind": "status", "value": 500}, "provider_error"),
        ({"provider": "bold", "kind": "latency"}, "uniform"),
        ({"provider": "bold", "kind": "latency", "value": {"uniform": [3, 1]}}, "uniform"),
        ({"provider": "bold", "kind": "latency", "value": -1}, "uniform"),
        ({"provider": "bold", "kind": "timeout", "value": 5}, "after_effect"),
        ({"provider": "bold", "kind": "provider_error"}, "AP001"),
        ({"provider": "whatsapp", "kind": "provider_error", "value": "131047"}, "131047"),
        ({"provider": "smtp", "kind": "provider_error", "value": 250}, "451"),
        ({"provider": "smtp", "kind": "down", "account": "a"}, "connect"),
        ({"provider": "smtp", "kind": "answer_lost", "operation": "rcpt"}, "no effect"),
    ],
)
async def test_a_senseless_fault_is_explained(client: Any, order: dict[str, Any], hint: str) -> None:
    answer = await client.http.post("/_sandbox/faults", json=order)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert hint in " ".join(answer.json()["errors"])


def test_log_normal_latency_has_its_median() -> None:
    source = random.Random(1)
    drawn = sorted(draw({"lognormal": [2.0, 0.5]}, source) for _ in range(2001))
    assert 1.8 < drawn[1000] < 2.2


def test_of_two_faults_the_older_is_met() -> None:
    faults = Faults()
    for kind in ("cut", "down"):
        faults.add(FaultRequest(provider="bold", kind=kind, times=1))
    met = [faults.take("bold", "create_link", "k") for _ in range(3)]
    assert [fault.kind if fault else None for fault in met] == ["cut", "down", None]

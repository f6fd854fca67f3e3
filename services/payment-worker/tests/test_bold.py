"""The Bold client on a mock transport: the wire, and every line of the table."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from llegada.events.types import Money
from llegada.messaging.failures import (
    Credentials,
    Failure,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    Transient,
)
from llegada.runtime.http import ProviderClient
from payment_worker.bold import Bold, expiry

LIMITS = {"payload": {"payment_methods": {"PSE": {"min": 1000, "max": 5000}, "NEQUI": {"min": 2000, "max": 9000}}}}
LINK = {"payload": {"payment_link": "LNK_1", "url": "https://checkout.bold.co/LNK_1"}, "errors": []}
ERRORS = {"payload": {}, "errors": [{"code": "AP002", "message": "taxes mismatch"}]}


class Wire:
    """What Bold answers to a link, and what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.limits = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("payment_methods"):
            self.limits += 1
            return httpx.Response(200, json=LIMITS)
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, json=LINK)
        if isinstance(answer, Exception):
            raise answer
        return answer


def bold(wire: Wire) -> Bold:
    http = ProviderClient("bold", "https://bold.test", transport=httpx.MockTransport(wire))
    return Bold(http, {1: SecretStr("identity-key")})


async def make(client: Bold, amount: int = 3000, organization: int = 1) -> Any:
    return await client.create_link(
        organization, "ref-1", Money(amount=amount), "Reserva 1", expiry(timedelta(hours=1))
    )


async def test_the_request_is_bolds_contract() -> None:
    wire = Wire()
    link = await make(bold(wire))
    assert (link.id, link.url) == ("LNK_1", "https://checkout.bold.co/LNK_1")
    (request,) = wire.asked
    assert request.headers["authorization"] == "x-api-key identity-key"
    body = json.loads(request.content)
    assert body["amount"] == {"currency": "COP", "total_amount": 3000, "tip_amount": 0, "taxes": []}
    assert isinstance(body["amount"]["total_amount"], int)
    assert (body["amount_type"], body["reference"]) == ("CLOSE", "ref-1")
    assert len(str(body["expiration_date"])) == 19
    assert body["payment_methods"] == ["PSE", "NEQUI"]


async def test_only_methods_that_take_the_amount_are_offered() -> None:
    wire = Wire()
    await make(bold(wire), 7000)
    assert json.loads(wire.asked[0].content)["payment_methods"] == ["NEQUI"]


async def test_an_amount_that_nobody_takes_is_refused_before_the_call() -> None:
    wire = Wire()
    with pytest.raises(Permanent, match="999 COP: allowed are 1000 to 9000"):
        await make(bold(wire), 999)
    assert wire.asked == []


async def test_limits_are_read_once_for_calls_at_the_same_time() -> None:
    wire, client = Wire(), None
    client = bold(wire)
    await asyncio.gather(*(make(client) for _ in range(5)))
    assert wire.limits == 1


async def test_the_flat_shape_is_read_too() -> None:
    wire = Wire(httpx.Response(200, json={"id": "LNK_2", "url": "https://checkout.bold.co/LNK_2"}))
    assert (await make(bold(wire))).id == "LNK_2"


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (httpx.Response(400, json=ERRORS), Permanent),
        (httpx.Response(401, json={}), Credentials),
        (httpx.Response(403, json={"message": "Forbidden"}), Credentials),
        (httpx.Response(404, json=ERRORS), Permanent),
        (httpx.Response(405), Permanent),
        (httpx.Response(409, json=ERRORS), Permanent),
        (httpx.Response(418), Permanent),
        (httpx.Response(422, json=ERRORS), Permanent),
        (httpx.Response(429), RateLimited),
        (httpx.Response(500, json=ERRORS), Transient),
        (httpx.Response(503, json=ERRORS), Transient),
        (httpx.Response(500, text="<html>"), OutcomeUnknown),
        (httpx.Response(502, text="<html>"), OutcomeUnknown),
        (httpx.Response(504), OutcomeUnknown),
        (httpx.Response(200, text="ok"), OutcomeUnknown),
        (httpx.Response(200, json={"payload": {}}), OutcomeUnknown),
        (httpx.Response(200, json=[]), OutcomeUnknown),
        (httpx.ConnectError("refused"), Transient),
        (httpx.ConnectTimeout("slow"), Transient),
        (httpx.ReadTimeout("slow"), OutcomeUnknown),
        (httpx.ReadError("cut"), OutcomeUnknown),
        (httpx.RemoteProtocolError("cut"), OutcomeUnknown),
        (httpx.WriteError("cut"), OutcomeUnknown),
    ],
)
async def test_what_bold_answers_decides_what_happens(
    answer: httpx.Response | Exception, failure: type[Failure]
) -> None:
    with pytest.raises(failure):
        await make(bold(Wire(answer)))


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", 4)])
async def test_retry_after_is_read_in_both_forms(value: str, seconds: int) -> None:
    with pytest.raises(RateLimited) as limited:
        await make(bold(Wire(httpx.Response(429, headers={"retry-after": value}))))
    assert limited.value.retry_after == timedelta(seconds=seconds)


async def test_an_organization_without_a_key_is_told_so() -> None:
    with pytest.raises(Credentials, match="organization 2 has no key") as refused:
        await make(bold(Wire()), organization=2)
    assert refused.value.advice


async def test_the_misleading_403_comes_with_advice() -> None:
    with pytest.raises(Credentials) as refused:
        await make(bold(Wire(httpx.Response(403, json={"message": "Forbidden"}))))
    assert refused.value.advice is not None
    assert "decimals" in refused.value.advice


def test_nobody_is_called_for_the_synthetic_organization() -> None:
    wire = Wire()
    http = ProviderClient("bold", "https://bold.test", transport=httpx.MockTransport(wire))
    pretending = Bold(http, {1: SecretStr("identity-key")}, synthetic=9)

    async def ask() -> str:
        link = await pretending.create_link(9, "reference-1", Money(amount=10_000), "", expiry(timedelta(hours=1)))
        assert "reference-1" in link.url
        return await pretending.link_status(9, link.id)

    assert asyncio.run(ask()) == "EXPIRED"
    assert (wire.asked, wire.limits) == ([], 0)

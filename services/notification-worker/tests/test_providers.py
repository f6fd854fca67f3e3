"""WhatsApp on a mock transport, SMTP on a real socket: the wire, and every line of the tables."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

from llegada.events.notification import NotificationReady
from llegada.events.organization import Wording
from llegada.events.types import Channel, Money, OrganizationId, ReservationId
from llegada.messaging.effects import Attempt
from llegada.messaging.failures import (
    Credentials,
    Failure,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    TargetAway,
    Transient,
)
from llegada.runtime.http import ProviderClient
from notification_worker import whatsapp
from notification_worker.handlers import GRACE, WhatsAppMessage
from notification_worker.mail import Mail, Mailer, MailServer, failure_of
from notification_worker.store import BeforeSending
from notification_worker.whatsapp import Account, Template, WhatsApp

READY = NotificationReady(
    organization_id=OrganizationId(1),
    reservation_id=ReservationId(17),
    kind="confirmation",
    channel=Channel.WHATSAPP,
    recipient="+573001234567",
    language="es",
    guest_name="Ana",
    property_name="Hostal",
    amount=Money(amount=180_000),
    check_in_date=date(2026, 12, 1),
    check_out_date=date(2026, 12, 3),
    check_in_url="https://desk.test/check-in/17-x",
    payment_url="https://checkout.test/1",
)

OK = {"messages": [{"id": "wamid.1", "message_status": "accepted"}]}


def meta(code: int, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": "m", "error_data": {"details": "d"}}})


class Wire:
    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(json.loads(request.content))
        return self.answers.pop(0) if self.answers else httpx.Response(200, json=OK)


def client(wire: Wire) -> WhatsApp:
    http = ProviderClient("whatsapp", "https://graph.test", transport=httpx.MockTransport(wire))
    return WhatsApp(http, "v23.0", {1: Account(phone_number_id="100", token=SecretStr("secret-token"))})


async def test_the_template_request_is_metas_contract() -> None:
    wire = Wire()
    sent = await client(wire).send_template(1, "+573001234567", Template("t", "es", ["a", "b"]), "own-key")
    assert sent == "wamid.1"
    assert wire.requests[0].url.path == "/v23.0/100/messages"
    assert wire.requests[0].headers["authorization"] == "Bearer secret-token"
    body = wire.bodies[0]
    assert (body["to"], body["biz_opaque_callback_data"]) == ("573001234567", "own-key")
    assert body["template"]["language"] == {"code": "es"}
    assert [p["text"] for p in body["template"]["components"][0]["parameters"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("codes", "failure"),
    [
        (whatsapp._TRANSIENT, Transient),
        (whatsapp._RATE, RateLimited),
        (whatsapp._CREDENTIALS, Credentials),
        (whatsapp._PERMANENT, Permanent),
        ([999_999], Permanent),
    ],
)
async def test_every_code_of_the_table_has_its_reaction(codes: Any, failure: type[Failure]) -> None:
    for code in codes:
        for status in (400, 500):
            with pytest.raises(failure) as raised:
                await client(Wire(meta(code, status))).send_text(1, "+573001234567", "Hola", "k")
            assert raised.value.code == str(code)


def test_no_code_stands_in_two_tables() -> None:
    tables = [set(whatsapp._TRANSIENT), set(whatsapp._RATE), set(whatsapp._CREDENTIALS), set(whatsapp._PERMANENT)]
    assert sum(map(len, tables)) == len(set.union(*tables))


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (httpx.Response(500, text="<html>"), OutcomeUnknown),
        (httpx.Response(429, text="slow"), RateLimited),
        (httpx.Response(400, text="?"), Permanent),
        (httpx.Response(200, json={}), OutcomeUnknown),
    ],
)
async def test_an_answer_that_is_not_metas_own(answer: httpx.Response, failure: type[Failure]) -> None:
    with pytest.raises(failure):
        await client(Wire(answer)).send_text(1, "+573001234567", "Hola", "k")


async def test_an_organization_without_an_account_is_told_so() -> None:
    with pytest.raises(Credentials, match="organization 2 has no WhatsApp account"):
        await client(Wire()).send_text(2, "+573001234567", "Hola", "k")


async def perform(wire: Wire, *, window_open: bool, ready: NotificationReady = READY) -> Any:
    message = WhatsAppMessage(ready, None, client(wire), GRACE)  # type: ignore[arg-type] # the store was asked before
    message._known = BeforeSending(
        unwanted=None, opted_out=False, paid=False, wording=Wording(), window_open=window_open
    )
    return await message.perform(Attempt(1, "own-key", datetime.now(UTC)))


async def test_text_inside_the_window_and_a_template_outside() -> None:
    inside, outside = Wire(), Wire()
    assert (await perform(inside, window_open=True)).template is None
    assert (await perform(outside, window_open=False)).template == "reservation_checkin_invitation"
    assert (inside.bodies[0]["type"], outside.bodies[0]["type"]) == ("text", "template")


async def test_only_131047_turns_text_into_a_template() -> None:
    wire = Wire(meta(131047))
    await perform(wire, window_open=True)
    assert [body["type"] for body in wire.bodies] == ["text", "template"]
    other = Wire(meta(131026))
    with pytest.raises(Permanent):
        await perform(other, window_open=True)
    assert len(other.bodies) == 1


async def test_words_of_staff_leave_as_they_are_or_not_at_all() -> None:
    own, inside, outside = READY.model_copy(update={"custom_message": "Your room changed"}), Wire(), Wire()
    assert (await perform(inside, window_open=True, ready=own)).text == "Your room changed"
    with pytest.raises(Permanent) as refused:
        await perform(outside, window_open=False, ready=own)
    assert (outside.bodies, "e-mail" in (refused.value.advice or "")) == ([], True)


class Server:
    """A small mail server that says what it is told to."""

    def __init__(self) -> None:
        self.rcpt, self.data, self.cut = "250 OK", "250 OK", False
        self.kept: list[bytes] = []

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.cut:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            return self.data
        assert isinstance(envelope.content, bytes)
        self.kept.append(envelope.content)
        return self.data


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[tuple[Server, Mailer]]:
    handler, loop = Server(), asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(handler, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield handler, Mailer(MailServer("127.0.0.1", port, "none"))
    listening.close()
    await listening.wait_closed()


MAIL = Mail(
    "id@hostal.test", "Hostal <a@hostal.test>", "b@guest.test", "Hola", "Hola Ana", "<p>Hola</p>", datetime.now(UTC)
)


async def test_a_mail_has_text_html_and_a_stable_id(server: tuple[Server, Mailer]) -> None:
    handler, mailer = server
    await mailer.send(MAIL)
    (content,) = handler.kept
    for part in (b"Message-ID: <id@hostal.test>", b"text/plain", b"text/html", b"auto-generated", b"Date:"):
        assert part in content


@pytest.mark.parametrize(
    ("rcpt", "data", "failure"),
    [
        ("450 4.2.1 busy", "250 OK", TargetAway),
        ("550 5.1.1 unknown", "250 OK", Permanent),
        ("250 OK", "451 4.3.0 later", Transient),
        ("250 OK", "554 5.7.1 policy", Credentials),
        ("250 OK", "554 5.6.0 no", Permanent),
    ],
)
async def test_replies_decide_what_happens(
    server: tuple[Server, Mailer], rcpt: str, data: str, failure: type[Failure]
) -> None:
    handler, mailer = server
    handler.rcpt, handler.data = rcpt, data
    with pytest.raises(failure):
        await mailer.send(MAIL)


async def test_a_cut_after_the_final_dot_is_an_unknown_outcome(server: tuple[Server, Mailer]) -> None:
    handler, mailer = server
    handler.cut = True
    with pytest.raises(OutcomeUnknown):
        await mailer.send(MAIL)


async def test_a_server_that_is_not_there_took_nothing() -> None:
    with pytest.raises(Transient):
        await Mailer(MailServer("127.0.0.1", 1, "none")).send(MAIL)


@pytest.mark.parametrize(
    ("code", "text", "failure"),
    [
        *[(code, "x", Transient) for code in (421, 451, 452, 454, 455)],
        *[(450, "x", TargetAway), (450, "4.2.0 later", TargetAway), (452, "4.2.2 full", TargetAway)],
        (451, "4.7.1 greylisted", TargetAway),
        (450, "4.3.2 the system takes nothing", Transient),
        *[(code, "x", Permanent) for code in (501, 503, 521, 550, 551, 552, 553, 554, 555, 556)],
        *[(code, "x", Credentials) for code in (530, 534, 535, 538)],
        (552, "5.2.2 full", TargetAway),
        (550, "5.7.26 dmarc", Credentials),
    ],
)
def test_every_smtp_code_has_its_reaction(code: int, text: str, failure: type[Failure]) -> None:
    assert type(failure_of(code, text)) is failure


async def test_nobody_is_called_for_the_synthetic_organization() -> None:
    wire = Wire()
    http = ProviderClient("whatsapp", "https://graph.test", transport=httpx.MockTransport(wire))
    pretending = WhatsApp(http, "v23.0", {}, synthetic=9)
    assert "key-1" in await pretending.send_text(9, "+573000000000", "hola", "key-1")
    assert wire.bodies == []

"""The mail relay, as a client meets it."""

from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest


async def send(running: Any, mail: EmailMessage, **more: Any) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
    options = {"hostname": "127.0.0.1", "port": running.mail_port, "start_tls": False, "timeout": 5, **more}
    return await aiosmtplib.send(mail, **options)


async def test_mail_is_kept(client: Any, running: Any, mail: EmailMessage) -> None:
    await send(running, mail)
    (effect,) = await client.effects(provider="smtp", recipient="b@guest.test")
    assert (effect["operation"], effect["account"], effect["sender"]) == ("send", "a@hostal.test", "a@hostal.test")
    assert (effect["reference"], effect["message_id"]) == ("<own@hostal.test>", "<own@hostal.test>")
    assert (effect["subject"], effect["content"].strip()) == ("Hola", "Hola Ana")


async def test_each_recipient_is_an_effect_of_its_own(client: Any, running: Any, mail: EmailMessage) -> None:
    await send(running, mail, recipients=["b@guest.test", "c@guest.test"])
    effects = await client.effects()
    assert [effect["recipient"] for effect in effects] == ["b@guest.test", "c@guest.test"]
    assert len({effect["id"] for effect in effects}) == 2


async def test_one_refused_recipient_leaves_the_others(client: Any, running: Any, mail: EmailMessage) -> None:
    await client.configure("smtp", refused_recipients={"c@guest.test": "550 5.1.1 no such user"})
    refused, _ = await send(running, mail, recipients=["b@guest.test", "c@guest.test"])
    assert refused["c@guest.test"].code == 550
    assert [effect["recipient"] for effect in await client.effects()] == ["b@guest.test"]


async def test_a_login_is_taken_and_is_the_account(client: Any, running: Any, mail: EmailMessage) -> None:
    await send(running, mail, username="relay-user", password="secret")
    assert [effect["account"] for effect in await client.effects()] == ["relay-user"]


async def test_a_refused_login_gets_535(client: Any, running: Any, mail: EmailMessage) -> None:
    await client.http.post("/_sandbox/accounts", json={"provider": "smtp", "refused": ["relay-user"]})
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
        await send(running, mail, username="relay-user", password="secret")
    assert refused.value.code == 535


async def test_html_and_accents_are_read_as_a_guest_reads_them(client: Any, running: Any, mail: EmailMessage) -> None:
    mail.replace_header("Subject", "Tu reserva está lista")
    mail.set_content("¡Hola, Ñandú!")
    mail.add_alternative("<p>¡Hola!</p>", subtype="html")
    await send(running, mail)
    (effect,) = await client.effects(subject="Tu reserva está lista")
    assert effect["content"].strip() == "¡Hola, Ñandú!"


async def test_a_mail_that_nobody_can_read_is_kept_all_the_same(client: Any, running: Any) -> None:
    raw = (
        b"Subject: =?x-unknown?q?Hola?=\r\nMessage-ID: <own@hostal.test>\r\n"
        b"Content-Type: text/plain; charset=x-unknown\r\n\r\nHola\xff\r\n"
    )
    options = {"hostname": "127.0.0.1", "port": running.mail_port, "start_tls": False, "timeout": 5}
    await aiosmtplib.send(raw, sender="a@hostal.test", recipients=["b@guest.test"], **options)
    (effect,) = await client.effects(reference="<own@hostal.test>")
    assert (effect["subject"], effect["content"]) == ("=?x-unknown?q?Hola?=", None)


@pytest.mark.parametrize(
    ("operation", "value", "code"),
    [(None, 451, 451), ("data", "554 5.7.1 policy", 554), ("rcpt", "450 4.7.1 greylisted", 450), ("connect", 554, 554)],
)
async def test_a_reply_can_be_ordered(
    client: Any, running: Any, mail: EmailMessage, operation: str | None, value: Any, code: int
) -> None:
    await client.fault(provider="smtp", operation=operation, kind="provider_error", value=value, times=1)
    with pytest.raises(aiosmtplib.SMTPException) as refused:
        await send(running, mail)
    assert str(code) in str(refused.value) or str(code) in repr(refused.value)
    assert await client.effects() == []
    await send(running, mail)


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        ({"kind": "cut"}, 0),
        ({"kind": "cut", "operation": "rcpt"}, 0),
        ({"kind": "cut", "operation": "connect"}, 0),
        ({"kind": "down"}, 0),
        ({"kind": "answer_lost"}, 1),
        ({"kind": "timeout"}, 0),
        ({"kind": "timeout", "value": "after_effect"}, 1),
        ({"kind": "timeout", "operation": "connect"}, 0),
        ({"kind": "latency", "value": 0.8}, 1),
    ],
)
async def test_a_lost_conversation_tells_the_ledger_alone_what_was_sent(
    client: Any, running: Any, mail: EmailMessage, fault: dict[str, Any], made: int
) -> None:
    await client.fault(provider="smtp", times=1, **fault)
    with pytest.raises((aiosmtplib.SMTPException, OSError)) as lost:
        await send(running, mail, timeout=0.4)
    # -1 is aiosmtplib's own code for a connection that went away: the relay has said nothing.
    assert getattr(lost.value, "code", -1) == (421 if fault["kind"] == "down" else -1)
    await client.settled()
    assert len(await client.effects(reference="<own@hostal.test>")) == made
    await send(running, mail)


async def test_down_answers_421_at_the_connect(client: Any, running: Any) -> None:
    await client.fault(provider="smtp", kind="down")
    with pytest.raises(aiosmtplib.SMTPConnectResponseError) as refused:
        await aiosmtplib.SMTP(hostname="127.0.0.1", port=running.mail_port, start_tls=False, timeout=5).connect()
    assert refused.value.code == 421


async def test_a_fault_of_another_account_does_not_hit(client: Any, running: Any, mail: EmailMessage) -> None:
    await client.fault(provider="smtp", account="z@hostal.test", kind="provider_error", value=451)
    await send(running, mail)
    assert len(await client.effects()) == 1

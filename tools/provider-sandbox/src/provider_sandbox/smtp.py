"""A mail relay (RFC 5321) that keeps what it accepted. AUTH (RFC 4954) is offered, not needed; there is no STARTTLS."""

import asyncio
import email
import socket
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import Annotated, Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import BaseModel, ConfigDict, Field

from provider_sandbox.accounts import Accounts
from provider_sandbox.effects import Effects
from provider_sandbox.faults import HOLD_SECONDS, FaultRequest, Faults

_CLOSING = "421 4.3.2 Service not available, closing transmission channel"


class SmtpSettings(BaseModel):
    """What can be switched."""

    model_config = ConfigDict(extra="forbid")

    refused_recipients: dict[str, Annotated[str, Field(pattern=r"^[45][0-9][0-9] .+")]] = {}
    """Address → reply to its RCPT, for instance "550 5.1.1 no such user"; the other recipients are served."""


class Mailbox:
    """aiosmtpd's handler. The account is the user who logged in, or else the sender's address.

    A fault without an operation meets the final dot (`data`), `down` the connect; the other places of a
    conversation must be named.
    """

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self._faults = faults
        self._numbers = 0
        self._works: set[asyncio.Task[str | None]] = set()
        self.settings = SmtpSettings()
        self.accounts = Accounts()

    @property
    def in_flight(self) -> int:
        """Messages that may still be delivered."""
        return len(self._works)

    def configure(self, changes: dict[str, Any]) -> None:
        """Change some settings; raises pydantic's ValidationError."""
        self.settings = SmtpSettings.model_validate({**self.settings.model_dump(), **changes})

    def reset(self) -> None:
        """Settings and accounts as at the start."""
        self.settings, self.accounts = SmtpSettings(), Accounts()

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, said: Any) -> AuthResult:
        """Everyone may log in, unless `accounts` says otherwise: then 535 5.7.8."""
        login = said.login.decode(errors="replace") if isinstance(said, LoginPassword) else ""
        return AuthResult(success=self.accounts.allow(login), handled=False, auth_data=said)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        account = _account(session, envelope)
        fault = self._faults.take("smtp", "rcpt", account, aimed=True)
        await self._faults.delay("smtp", "rcpt", account, aimed=True)
        if fault is not None:
            return await _faulty(server, fault)
        if address in self.settings.refused_recipients:
            return self.settings.refused_recipients[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        account = _account(session, envelope)
        fault = self._faults.take("smtp", "data", account)
        # A relay that has the final dot goes on even if the client leaves (RFC 1047); aiosmtpd would cancel us.
        work = asyncio.create_task(self._work(fault, account, envelope))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        answer = await asyncio.shield(work)
        if answer is not None and fault is None:
            return answer
        assert fault is not None
        return await _faulty(server, fault)

    async def _work(self, fault: FaultRequest | None, account: str, envelope: Envelope) -> str | None:
        await self._faults.delay("smtp", "data", account)
        if fault is None or fault.kind == "answer_lost" or fault.value == "after_effect":
            return f"250 2.0.0 OK: queued as {self._keep(account, envelope)}"
        return None

    def _keep(self, account: str, envelope: Envelope) -> str:
        """One effect per recipient: each gets a copy of his own."""
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = email.message_from_bytes(content)  # the old policy: the new one takes milliseconds per message
        message_id, subject = _header(message, "message-id"), _header(message, "subject")
        self._numbers += 1
        queued = f"Q{self._numbers:08d}"
        for number, recipient in enumerate(envelope.rcpt_tos, start=1):
            self._effects.made(
                "smtp", "send", account, recipient=recipient, reference=message_id, id=f"{queued}.{number}",
                message_id=message_id, sender=envelope.mail_from, subject=subject, content=_text(message),
                bytes=len(content),
            )  # fmt: skip
        return queued


async def _faulty(server: SMTP, fault: FaultRequest) -> str:
    if fault.kind == "provider_error":
        return _reply(fault.value)
    if fault.kind != "timeout":
        # uvloop's transports are none of asyncio's classes, so that isinstance would always say no.
        cast("asyncio.WriteTransport", server.transport).abort()
    # No answer. When the connection is gone, aiosmtpd cancels this very coroutine.
    await asyncio.sleep(HOLD_SECONDS)
    return _CLOSING


def _reply(value: Any) -> str:
    """A reply code, with words if there are none."""
    text = str(value)
    return text if " " in text else f"{text} {text[0]}.0.0 ordered by the sandbox"


def _account(session: Session, envelope: Envelope) -> str:
    said: Any = session.auth_data  # aiosmtpd types it as always None
    return said.login.decode(errors="replace") if isinstance(said, LoginPassword) else str(envelope.mail_from)


def _header(message: Message, name: str) -> str | None:
    """Decoded words (RFC 2047) of a header, unfolded; as it stands if it cannot be decoded."""
    value = message.get(name)
    if value is None:
        return None
    try:
        decoded = str(make_header(decode_header(str(value))))
    except (HeaderParseError, LookupError, ValueError):
        decoded = str(value)
    return " ".join(decoded.split())


def _text(message: Message) -> str | None:
    """The words that a guest reads, as plain text if there is any; None if the message cannot be read."""
    parts = {part.get_content_type(): part for part in reversed(list(message.walk()))}
    part = parts.get("text/plain") or parts.get("text/html")
    content = part.get_payload(decode=True) if part is not None else None
    if part is None or not isinstance(content, bytes):
        return None
    try:
        return content.decode(part.get_content_charset("utf-8"), errors="replace")
    except LookupError:  # a character set that nobody knows
        return None


class _Refusing(asyncio.Protocol):
    """A connection that meets a fault before the greeting."""

    def __init__(self, fault: FaultRequest) -> None:
        self._fault = fault

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast("asyncio.WriteTransport", transport)  # as in _faulty
        match self._fault.kind:
            case "cut":
                made.abort()
            case "timeout":  # silence, until the client or the limit ends it
                asyncio.get_running_loop().call_later(HOLD_SECONDS, made.abort)
            case kind:
                made.write((_CLOSING if kind == "down" else _reply(self._fault.value)).encode() + b"\r\n")
                made.close()


async def start(mailbox: Mailbox, faults: Faults, listener: socket.socket) -> asyncio.Server:
    """Serve on this socket until the server is closed."""
    loop = asyncio.get_running_loop()

    def connected() -> asyncio.Protocol:
        fault = faults.take_at_connect()
        if fault is not None:
            return _Refusing(fault)
        return SMTP(
            mailbox, hostname="sandbox.test", ident="provider sandbox", loop=loop, enable_SMTPUTF8=True,
            auth_require_tls=False, authenticator=mailbox.authenticate,
        )  # fmt: skip

    return await loop.create_server(connected, sock=listener)

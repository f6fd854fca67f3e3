"""An SMTP server (RFC 5321) that keeps what it accepted. AUTH is not needed."""

import asyncio
import email
import email.policy
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from provider_sandbox.effects import Effects
from provider_sandbox.faults import HOLD_SECONDS, Faults


class Mailbox:
    """aiosmtpd's handler: faults apply to the final dot (operation `data`), `down` to the recipient."""

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self._faults = faults

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = self._faults.take("smtp", "rcpt", "smtp")
        if fault is not None:
            if fault.kind == "provider_error":
                return _reply(fault.value)
            _cut(server)
            return "421 4.3.2 closing"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        fault = self._faults.take("smtp", "data", "smtp")
        await self._faults.delay("smtp", "data", "smtp")
        match fault.kind if fault is not None else None:
            case None:
                self._keep(envelope)
                return "250 2.0.0 OK"
            case "provider_error" | "status":
                return _reply(fault.value if fault is not None else 451)
            case "answer_lost":
                self._keep(envelope)
            case "timeout":
                await asyncio.sleep(HOLD_SECONDS)
        _cut(server)
        return "421 4.3.2 closing"

    def _keep(self, envelope: Envelope) -> None:
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        message_id = message["message-id"]
        text = message.get_body(("plain",))
        for recipient in envelope.rcpt_tos:
            self._effects.made(
                "smtp",
                "send",
                str(envelope.mail_from),
                recipient,
                reference=message_id,
                id=message_id,
                subject=message["subject"],
                content=text.get_content() if text is not None else None,
            )


def _reply(value: Any) -> str:
    text = str(value)
    return text if " " in text else f"{text} ordered by the sandbox"


def _cut(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


async def start(mailbox: Mailbox, host: str, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: SMTP(mailbox, hostname="sandbox.test", loop=loop), host, port)

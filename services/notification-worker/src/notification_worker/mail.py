"""E-mail by SMTP (RFC 5321), stepwise, so that it is known whether a lost connection can have sent something.

Up to the final dot of DATA nothing is accepted; after it, an answer that never came means unknown (RFC 1047). Codes:
RFC 5321 §4.2, RFC 3463, RFC 4954, RFC 7504.
"""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parseaddr
from typing import Literal

import aiosmtplib
from pydantic import SecretStr

from llegada.messaging import tracing
from llegada.messaging.failures import Credentials, Failure, OutcomeUnknown, Permanent, TargetAway, Transient

_ADDRESS = "Check the guest's e-mail address, or use another channel."
_RELAY = "Check the mail server's settings and the sender's domain (SPF, DKIM, DMARC)."
_AUTH = frozenset({530, 534, 535, 538})  # RFC 4954
_MAILBOX = 450  # RFC 5321 §4.2.2. RFC 3463: x.2.x is the mailbox; 4.7.1 is what greylisting says
_FINAL_DOT_SECONDS = 15.0


@dataclass(frozen=True)
class MailServer:
    """`tls`: none only for tests, starttls (RFC 3207), or tls from the start (RFC 8314)."""

    host: str
    port: int
    tls: Literal["none", "starttls", "tls"]
    user: str | None = None
    password: SecretStr | None = None


@dataclass(frozen=True)
class Attachment:
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Mail:
    """`message_id` is the same for all attempts, so that mail clients fold copies."""

    message_id: str
    sender: str
    recipient: str
    subject: str
    plain: str
    html: str
    date: datetime
    attachment: Attachment | None = None

    def written(self) -> EmailMessage:
        message = EmailMessage()
        message["From"] = formataddr(parseaddr(self.sender))
        message["To"] = self.recipient
        message["Subject"] = self.subject
        message["Date"] = format_datetime(self.date)
        message["Message-ID"] = f"<{self.message_id}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's out-of-office shall answer
        message.set_content(self.plain)
        message.add_alternative(self.html, subtype="html")
        if self.attachment is not None:
            kind, _, subtype = self.attachment.media_type.partition("/")
            content, name = self.attachment.content, self.attachment.name
            message.add_attachment(content, maintype=kind, subtype=subtype, filename=name)
        return message


class Mailer:
    def __init__(self, server: MailServer) -> None:
        self._server = server

    @property
    def host(self) -> str:
        return self._server.host

    async def send(self, mail: Mail) -> None:
        """Raises the failures of this module; OutcomeUnknown only after the message was handed over."""
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            timeout=10,
        )
        with tracing.call("smtp", "send"):
            await self._send(client, mail)

    async def _send(self, client: aiosmtplib.SMTP, mail: Mail) -> None:
        server = self._server
        try:
            await client.connect()
            if server.user is not None and server.password is not None:
                await client.login(server.user, server.password.get_secret_value())
            await client.mail(parseaddr(mail.sender)[1])
            await client.rcpt(mail.recipient)
        except aiosmtplib.SMTPResponseException as error:
            client.close()
            raise failure_of(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            raise Transient("the mail server cannot be reached", code=type(error).__name__) from error
        await self._hand_over(client, mail)

    async def _hand_over(self, client: aiosmtplib.SMTP, mail: Mail) -> None:
        try:
            await client.data(mail.written().as_bytes(), timeout=_FINAL_DOT_SECONDS)
        except aiosmtplib.SMTPResponseException as error:
            if error.code < 0:  # aiosmtplib's own code for a connection that went away
                raise OutcomeUnknown("the mail server did not say whether it took the message") from error
            raise failure_of(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            name = type(error).__name__
            raise OutcomeUnknown("the mail server did not say whether it took the message", code=name) from error
        finally:
            client.close()


def failure_of(code: int, text: str) -> Failure:
    """The failure that a reply stands for: 4xx may work later, 5xx will not."""
    enhanced = text.split(" ", 1)[0] if text[:2] in ("4.", "5.") else ""
    if code in _AUTH or enhanced.startswith("5.7."):
        return Credentials(f"the mail server refuses us ({code})", code=str(code), advice=_RELAY)
    if enhanced.startswith(("4.2.", "4.7.1", "5.2.2")) or (code == _MAILBOX and not enhanced):
        return TargetAway(f"the guest's mailbox takes nothing now ({code})", code=str(code))
    if 400 <= code < 500:  # noqa: PLR2004 - RFC 5321 §4.2.1: transient negative completion
        return Transient(f"the mail server cannot take the message now ({code})", code=str(code))
    return Permanent(f"the mail server refuses the message or the address ({code})", code=str(code), advice=_ADDRESS)

"""The effect that sends a monthly statement to whom it concerns, with its PDF."""

from datetime import UTC, datetime
from html import escape

from llegada.events.statement import StatementMailed, StatementMailRequested
from llegada.events.types import Language
from llegada.messaging.effects import Attempt, EffectKey, SendAgain
from llegada.messaging.gate import Way
from notification_worker.archive import Archive
from notification_worker.mail import Attachment, Mail, Mailer

_TEXTS: dict[Language, tuple[str, str, str]] = {
    "de": (
        "Beratungsabrechnung {number}",
        "Guten Tag\n\nIm Anhang finden Sie die Abrechnung {number} von {consultant} für {begin} bis {end}.",
        "Freundliche Grüße",
    ),
    "en": (
        "Consulting statement {number}",
        "Hello\n\nPlease find attached statement {number} of {consultant} for {begin} to {end}.",
        "Kind regards",
    ),
    "es": (
        "Cuenta de consultoría {number}",
        "Hola\n\nAdjuntamos la cuenta {number} de {consultant} del {begin} al {end}.",
        "Saludos cordiales",
    ),
}


class StatementMail:
    """After an attempt without an answer it may double: nothing can be asked, and the Message-ID stays the same."""

    def __init__(self, event: StatementMailRequested, archive: Archive, mailer: Mailer, sender: str) -> None:
        self._event = event
        self._archive = archive
        self._mailer = mailer
        self._sender = sender

    def key(self) -> EffectKey:
        event = self._event
        return EffectKey(event.organization_id, f"statement-mail-{event.edition}", event.subject, event.intent)

    def way(self) -> Way:
        return Way("smtp", self._mailer.host)

    async def still_wanted(self) -> None:
        return None

    async def look_up(self, attempt: Attempt) -> SendAgain:
        return SendAgain(f"attempt {attempt.number - 1} cannot be asked about; this message may double")

    async def perform(self, attempt: Attempt) -> StatementMailed:
        event = self._event
        content = await self._archive.read(event.file)
        subject, text = self._texts()
        domain = self._sender.rpartition("@")[2].rstrip("> ")
        opened = int(attempt.opened_at.timestamp())
        mail = Mail(
            message_id=f"statement-{event.statement_id}.{event.edition}.{event.intent}.{opened}@{domain}",
            sender=self._sender,
            recipient=event.recipient,
            subject=subject,
            plain=text,
            html="".join(f"<p>{escape(part)}</p>" for part in text.strip().split("\n\n")).replace("\n", "<br>"),
            date=datetime.now(UTC),
            attachment=Attachment(event.file.name, event.file.media_type, content),
        )
        await self._mailer.send(mail)
        return StatementMailed(
            organization_id=event.organization_id,
            statement_id=event.statement_id,
            edition=event.edition,
            number=event.number,
            intent=event.intent,
            recipient=event.recipient,
            provider_message_id=mail.message_id,
            sent_at=mail.date,
        )

    def _texts(self) -> tuple[str, str]:
        event = self._event
        pattern = "%Y-%m-%d" if event.language == "en" else "%d.%m.%Y" if event.language == "de" else "%d/%m/%Y"
        subject, text, regards = _TEXTS[event.language]
        values = {
            "number": event.number,
            "consultant": event.consultant,
            "begin": event.period_start.strftime(pattern),
            "end": event.period_end.strftime(pattern),
        }
        return subject.format(**values), f"{text.format(**values)}\n\n{regards}\n{event.issuer}\n"

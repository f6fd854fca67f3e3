"""A statement leaves with its PDF; what was damaged on the way does not leave."""

from datetime import UTC, date, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from llegada.events.file import File
from llegada.events.statement import StatementMailRequested
from llegada.messaging.effects import Attempt
from llegada.messaging.failures import Permanent
from notification_worker.archive import Archive
from notification_worker.mail import Mail, Mailer, MailServer
from notification_worker.statement_mail import StatementMail

ATTEMPT = Attempt(1, "r", datetime(2026, 11, 25, tzinfo=UTC))
PDF = File.of("MR-202611-007.pdf", b"%PDF-1.7 and more", 1)


class Box(Mailer):
    """Keeps what would leave."""

    def __init__(self) -> None:
        super().__init__(MailServer("smtp.test", 25, "none"))
        self.mails: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


def wanted(**changes: Any) -> StatementMailRequested:
    known = {
        "organization_id": 1,
        "statement_id": 5,
        "number": "MR-202611-007",
        "intent": 1,
        "recipient": "rechnung@example.ch",
        "consultant": "Erika <b>",
        "issuer": "Hostal",
        "period_start": date(2026, 10, 25),
        "period_end": date(2026, 11, 24),
        "file": PDF,
    }
    return StatementMailRequested.model_validate({**known, **changes})


@pytest.mark.parametrize(("language", "word"), [("de", "Abrechnung"), ("en", "statement"), ("es", "cuenta")])
async def test_the_statement_leaves_with_its_pdf(language: str, word: str) -> None:
    box = Box()
    mailed = await StatementMail(wanted(language=language), Archive(), box, "Hostal <a@hostal.test>").perform(ATTEMPT)
    [mail] = box.mails
    message: EmailMessage = mail.written()
    [attachment] = list(message.iter_attachments())
    assert attachment.get_filename() == "MR-202611-007.pdf"
    assert attachment.get_content_type() == "application/pdf"
    assert attachment.get_payload(decode=True) == b"%PDF-1.7 and more"
    assert word in mail.plain
    assert "Erika &lt;b&gt;" in mail.html
    assert mailed.provider_message_id == mail.message_id


async def test_all_attempts_have_one_message_id_and_another_wish_has_another() -> None:
    box = Box()
    for intent, number in ((1, 1), (1, 2), (2, 1)):
        attempt = Attempt(number, "r", ATTEMPT.opened_at)
        await StatementMail(wanted(intent=intent), Archive(), box, "a@hostal.test").perform(attempt)
    first, second, third = (mail.message_id for mail in box.mails)
    assert first == second != third


async def test_a_damaged_file_does_not_leave() -> None:
    box = Box()
    damaged = PDF.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(Permanent, match="checksum"):
        await StatementMail(wanted(file=damaged), Archive(), box, "a@hostal.test").perform(ATTEMPT)
    assert box.mails == []

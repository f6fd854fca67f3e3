"""The effects that write documents. Setting a document anew harms nobody: the same data make the same bytes."""

from typing import Any

from backoffice_worker.archive import Archive
from backoffice_worker.documents import document_data, statement_data
from backoffice_worker.rendering import Typesetter
from backoffice_worker.statements import group
from llegada.events.file import File
from llegada.events.person import DocumentReady, DocumentRequested
from llegada.events.statement import StatementReady, StatementRequested
from llegada.messaging.effects import Attempt, EffectKey, SendAgain
from llegada.messaging.failures import Permanent
from llegada.messaging.gate import Way

MOST_BYTES = 8 * 1024 * 1024
"""A file may travel in its event; RabbitMQ takes 16 MB by default, and base64 adds a third."""


class _Document:
    """What both kinds share."""

    def __init__(self, typesetter: Typesetter, archive: Archive | None, subject: str) -> None:
        self._typesetter = typesetter
        self._archive = archive
        self._subject = subject

    def way(self) -> Way:
        """A way of its own for each document: one that breaks the typesetter opens nobody else's breaker."""
        return Way("typesetter", self._subject)

    async def still_wanted(self) -> None:
        return None

    async def look_up(self, attempt: Attempt) -> SendAgain:
        return SendAgain(f"attempt {attempt.number - 1} left nothing that another would harm; the document is set anew")

    async def _file(self, template: str, name: str, data: dict[str, Any], folder: str) -> File:
        """`folder`: of its organization, subject and version; nobody else writes there."""
        rendered = await self._typesetter.render(template, data)
        if len(rendered.content) > MOST_BYTES:
            raise Permanent(f"the {template} has {len(rendered.content)} bytes, {MOST_BYTES} are allowed", code="size")
        file = File.of(f"{name}.pdf", rendered.content, rendered.pages)
        return file if self._archive is None else await self._archive.keep(file, folder)


class StatementDocument(_Document):
    def __init__(self, event: StatementRequested, typesetter: Typesetter, archive: Archive | None = None) -> None:
        super().__init__(typesetter, archive, event.subject)
        self._event = event

    def key(self) -> EffectKey:
        return EffectKey(self._event.organization_id, "statement-pdf", self._event.subject, self._event.edition)

    async def perform(self, attempt: Attempt) -> StatementReady:  # noqa: ARG002 - the ledger's signature
        event = self._event
        grouped = group(event.entries, event.hourly_rate, event.period_start)
        name = event.number if event.edition == 1 else f"{event.number}-{event.edition}"
        folder = f"{event.organization_id}/{event.subject}/{event.edition}"
        return StatementReady(
            organization_id=event.organization_id,
            statement_id=event.statement_id,
            edition=event.edition,
            number=event.number,
            lines=grouped.lines,
            minutes=grouped.minutes,
            consultations=grouped.consultations,
            carried_minutes=grouped.carried_minutes,
            amount=grouped.amount,
            currency=event.currency,
            file=await self._file("statement", name, statement_data(event, grouped), folder),
        )


class PersonDocument(_Document):
    """A certificate or a contract."""

    def __init__(self, event: DocumentRequested, typesetter: Typesetter, archive: Archive | None = None) -> None:
        super().__init__(typesetter, archive, f"document/{event.key}")
        self._event = event

    def key(self) -> EffectKey:
        event = self._event
        return EffectKey(event.organization_id, f"{event.kind}-pdf", f"document/{event.key}", 1)

    async def perform(self, attempt: Attempt) -> DocumentReady:  # noqa: ARG002 - the ledger's signature
        event = self._event
        name = f"{event.kind}-{event.user_id}-{event.issued_on}"
        folder = f"{event.organization_id}/{event.subject}/{event.key}"
        return DocumentReady(
            organization_id=event.organization_id,
            user_id=event.user_id,
            key=event.key,
            kind=event.kind,
            file=await self._file(event.kind, name, document_data(event), folder),
        )

"""Files that staff download: ordered, ready, or failed for a reason."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from llegada.events.file import File
from llegada.events.job import JobFailed
from llegada.events.person import DocumentReady, DocumentRequested
from llegada.events.statement import StatementReady
from llegada.messaging.envelope import Envelope
from llegada.messaging.failures import OURS, Transient
from llegada.messaging.transaction import Transaction

_ORDER = """
insert into documents (organization_id, subject, key, kind, request_id) values ($1, $2, $3, $4, $5)
on conflict (organization_id, subject, key) do nothing
"""
_READY = """
insert into documents as d (organization_id, subject, key, kind, request_id, state, name, media_type, sha256, pages,
                            content, stored_at, ready_at)
values ($1, $2, $3, $4, $5, 'ready', $6, $7, $8, $9, $10, $11, now())
on conflict (organization_id, subject, key) do update
set state = 'ready', reason = null, advice = null, name = excluded.name, media_type = excluded.media_type,
    sha256 = excluded.sha256, pages = excluded.pages, content = excluded.content, stored_at = excluded.stored_at,
    ready_at = now()
where d.state <> 'ready'
"""
_FAIL = """
update documents set state = 'failed', reason = $2, advice = $3
where request_id = $1 and state <> 'ready' returning organization_id, subject, key
"""
_ORDERED = "select true from documents where request_id = $1"
_ONE = """
select state, reason, name, media_type, sha256, pages, content, stored_at from documents
where organization_id = $1 and subject = $2 and key = $3
"""
_LIST = """
select key, kind, state, reason, advice, name, sha256, pages, requested_at, ready_at from documents
where organization_id = $1 and subject = $2 order by requested_at desc, key limit 200
"""


@dataclass(frozen=True)
class Failed:
    """A document that will not come, unless its dead letter is replayed."""

    organization_id: int
    subject: str
    key: str


async def order(tx: Transaction, organization_id: int, subject: str, key: str, kind: str, request_id: UUID) -> None:
    """`request_id`: the message that orders it. Ordering what was ordered changes nothing."""
    await tx.execute(_ORDER, organization_id, subject, key, kind, request_id)


async def take(tx: Transaction, events: Sequence[tuple[Envelope, object]]) -> list[Failed]:
    """What the worker says about documents; returns those that have failed.

    Raises Transient where a document that the worker ordered has failed, and its order is not here yet.
    """
    failed: list[Failed] = []
    for envelope, event in sorted(events, key=lambda entry: not isinstance(entry[1], DocumentRequested)):
        match event:
            case DocumentRequested():
                await order(tx, event.organization_id, event.subject, str(event.key), event.kind, envelope.id)
            case DocumentReady():
                await _ready(tx, event.organization_id, event.subject, str(event.key), event.kind, event.file, envelope)
            case StatementReady():
                key = str(event.edition)
                await _ready(tx, event.organization_id, event.subject, key, "statement", event.file, envelope)
            case JobFailed():
                cause = _cause(envelope)
                rows = await tx.fetch(_FAIL, cause, event.reason, event.advice)
                if not rows and event.cause_type == DocumentRequested.type and not await tx.fetchval(_ORDERED, cause):
                    raise Transient(f"{OURS}has not stored the order of a failed document yet", code="order")
                failed += [Failed(**dict(row)) for row in rows]
    return failed


async def one(tx: Transaction, organization_id: int, subject: str, key: str) -> asyncpg.Record | None:
    """With its content, or the key under which the store has it."""
    return await tx.fetchrow(_ONE, organization_id, subject, key)


def file_of(row: asyncpg.Record) -> File:
    """The ready document as events speak of it: its bytes, or where they lie; with the checksum of what was made."""
    content = "" if row["content"] is None else b64encode(row["content"]).decode("ascii")
    names = "name", "media_type", "stored_at", "sha256", "pages"
    return File.model_validate({**{name: row[name] for name in names}, "content": content})


async def of_subject(tx: Transaction, organization_id: int, subject: str) -> list[asyncpg.Record]:
    """Newest first, without their contents."""
    return await tx.fetch(_LIST, organization_id, subject)


def _cause(envelope: Envelope) -> UUID | None:
    """The message that it came from; None for a foreign one: it ordered no document."""
    try:
        return UUID(envelope.causation_id or "")
    except ValueError:
        return None


async def _ready(
    tx: Transaction, organization_id: int, subject: str, key: str, kind: str, file: File, envelope: Envelope
) -> None:
    content = file.read() if file.stored_at is None else None
    request = _cause(envelope) or envelope.id
    about = file.name, file.media_type, file.sha256, file.pages, content, file.stored_at
    await tx.execute(_READY, organization_id, subject, key, kind, request, *about)

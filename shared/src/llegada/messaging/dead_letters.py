"""Where dead letters rest: read from every service's dead-letter queue, byte for byte, acknowledged after the commit.

Three kinds arrive: what a service settled as dead (its headers say why), what the broker gave up on (`x-death` says
where), and what came back for a queue that is gone. All end as rows of one table, in the schema of the service that
keeps them; `dead_letter_desk` is what operators do with the rows.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from llegada.messaging.envelope import Envelope, Lane
from llegada.messaging.group_commit import GroupCommit
from llegada.messaging.outbox import LANES
from llegada.messaging.topology import UNROUTABLE
from llegada.messaging.transaction import Database, outlasting

Origin = Literal["settled", "broker", "unroutable"]

_STORE = """
insert into dead_letters (organization_id, service, queue, subscriber, message_id, pass, attempts, type, subject, lane,
                          correlation_id, properties, body, origin, error_class, error_code, reason, fingerprint,
                          failed_at, headers)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::integer[], $7::integer[],
                     $8::text[], $9::text[], $10::smallint[], $11::text[], $12::jsonb[], $13::bytea[], $14::text[],
                     $15::text[], $16::text[], $17::text[], $18::text[], $19::timestamptz[], $20::jsonb[])
on conflict (queue, message_id, pass) do nothing
"""
_NO_DIGITS = re.compile(r"[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|\d+")
_NO_QUOTES = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class DeadLetter:
    """One message at the end of its road. `queue` is where it failed, and where a replay goes."""

    queue: str
    origin: Origin
    envelope: Envelope
    headers: Mapping[str, Any]
    body: bytes
    attempts: int
    error_class: str
    error_code: str | None
    reason: str
    failed_at: datetime

    @property
    def service(self) -> str:
        return self.queue.split(".", 1)[0]

    @property
    def subscriber(self) -> str:
        """The queue without its lane: what the inbox knows."""
        return self.queue.removesuffix(f".{Lane.BULK.value}")

    @property
    def fingerprint(self) -> str:
        """The same for failures of one kind: handler, class, provider's code, and the text without its particulars."""
        text = _NO_DIGITS.sub("#", _NO_QUOTES.sub("'…'", self.reason.lower()))
        parts = (self.subscriber, self.error_class, self.error_code or "", text)
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    @property
    def properties(self) -> str:
        """What the outbox needs to send it once more (`outbox.OutboxMessage.properties`): its own headers alone."""
        e = self.envelope
        known = {"headers": e.headers(), "app_id": e.source, "correlation_id": e.correlation_id}
        return json.dumps(known, separators=(",", ":"))


def read(source: str, routing_key: str, envelope: Envelope, headers: Mapping[str, Any], body: bytes) -> DeadLetter:
    """What a message says that lay in the queue `source`. Nothing that it says can make this fail."""
    deaths = headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    now = datetime.now(UTC)
    lane_suffix = "" if envelope.lane is Lane.INTERACTIVE else f".{envelope.lane.value}"
    if source == UNROUTABLE:
        gone = routing_key or str(headers.get("queue", "unknown"))
        why = f"the queue {gone} is gone, so the message could not go back into it"
        return DeadLetter(gone, "unroutable", envelope, headers, body, envelope.attempt, "unroutable", None, why, now)
    if all(isinstance(headers.get(name), str) for name in ("gave_up", "error_class", "queue")):
        return DeadLetter(
            headers["queue"] + lane_suffix,
            "settled",
            envelope,
            headers,
            body,
            envelope.attempt,
            headers["error_class"],
            _text(headers.get("error_code")),
            _text(headers.get("error")) or "no reason was given",
            _time(headers.get("failed_at"), now),
        )
    queue, cause = (
        str(death.get("queue") or f"{source.split('.', 1)[0]}.unknown"),
        str(death.get("reason") or "unknown"),
    )
    why = {
        "delivery_limit": "it was delivered again and again without being settled: it may kill the process",
        "rejected": "a consumer rejected it without saying why",
    }.get(cause, f"the broker gave up on it ({cause})")
    return DeadLetter(queue, "broker", envelope, headers, body, envelope.attempt, "broker", cause, why, now)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object, default: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else default
    except ValueError:
        return default
    return at if at.tzinfo is not None else default


class Keeper:
    """Stores dead letters in `database`; a copy of one that is stored already changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stored = GroupCommit(self._store)

    async def keep(self, letter: DeadLetter) -> None:
        """Returns when it is committed; while the database is away it waits, and takes nothing more."""
        await self._stored.submit(letter)

    async def _store(self, letters: Sequence[DeadLetter]) -> list[None]:
        columns = [list(column) for column in zip(*map(_row, letters), strict=True)]

        async def write() -> None:
            async with self._database.connection() as connection:
                await connection.execute(_STORE, *columns)

        await outlasting(write)
        return [None] * len(letters)


def _row(letter: DeadLetter) -> tuple[Any, ...]:
    e = letter.envelope
    return (
        e.organization,
        letter.service,
        letter.queue,
        letter.subscriber,
        e.id,
        e.pass_number,
        letter.attempts,
        e.type,
        e.subject,
        LANES[e.lane],
        e.correlation_id,
        letter.properties,
        letter.body,
        letter.origin,
        letter.error_class,
        letter.error_code,
        letter.reason,
        letter.fingerprint,
        letter.failed_at,
        json.dumps(dict(letter.headers), default=str),
    )

"""What operators do with dead letters: find, group, read, edit, replay in measured batches, discard. All of it logged.

Every function works inside the caller's transaction; `organization` None means all of them. A replay never publishes:
it queues rows, and the `replays` loop of the service that keeps them sends them through its outbox.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg
from pydantic import ValidationError

from llegada.events.event import event_types
from llegada.messaging.transaction import Transaction, containing

OPEN = "open"
MOST_RATE = 500

_WHERE = """
($1::bigint is null or organization_id = $1) and ($2::bigint[] is null or id = any($2))
and ($3::text is null or fingerprint = $3) and ($4::text is null or queue = $4) and ($5::text is null or state = $5)
and ($6::text is null or reason ilike $6 or type ilike $6 or subject ilike $6 or correlation_id ilike $6
     or message_id::text ilike $6)
"""
_COLUMNS = """
id, organization_id, service, queue, message_id, pass, attempts, type, subject, correlation_id, origin, error_class,
error_code, reason, fingerprint, failed_at, stored_at, state, settled_at, replay_id, edited_body is not null as edited
"""
_LIST = f"select {_COLUMNS} from dead_letters where {_WHERE} order by id desc limit $7 offset $8"
_COUNT = f"select count(*) from dead_letters where {_WHERE}"
_GROUPS = f"""
select fingerprint, subscriber, error_class, error_code, min(reason) as reason, count(*) as count,
       min(failed_at) as first_seen, max(failed_at) as last_seen, count(distinct organization_id) as organizations
from dead_letters where {_WHERE}
group by fingerprint, subscriber, error_class, error_code order by count desc, fingerprint limit $7 offset $8
"""
_GROUP_COUNT = f"select count(distinct fingerprint) from dead_letters where {_WHERE}"
_ONE = f"""
select {_COLUMNS}, subscriber, headers, body, edited_body from dead_letters
where ($1::bigint is null or organization_id = $1) and id = $2
"""
_PASSES = """
select id, pass, attempts, error_class, error_code, reason, failed_at, state, settled_at from dead_letters
where message_id = $1 and subscriber = $2 order by pass
"""
_LOG_OF_ONE = (
    "select at, actor, action, detail from dead_letter_log where dead_letter_id = $1 or replay_id = $2 order by id"
)
_QUEUE = f"""
update dead_letters set state = 'queued', replay_id = $7 where {_WHERE} and state = '{OPEN}'
"""
_DISCARD = f"""
update dead_letters set state = 'discarded', settled_at = now() where {_WHERE} and state = '{OPEN}' returning id
"""
_LOG = """
insert into dead_letter_log (organization_id, dead_letter_id, replay_id, actor, action, detail)
select $1, d, $3, $4, $5, $6 from unnest($2::bigint[]) as d
"""
_NEW_REPLAY = """
insert into replays (organization_id, actor, selection, rate, total) values ($1, $2, $3, $4, 0) returning id
"""
_REPLAYS = """
select r.id, r.actor, r.selection, r.rate, r.total, r.state, r.reason, r.created_at, r.ended_at,
       count(*) filter (where d.state = 'queued') as queued, count(*) filter (where d.state = 'replayed') as pending,
       count(*) filter (where d.state = 'done') as done,
       count(*) filter (where d.state = 'failed_again') as failed_again
from replays r left join dead_letters d on d.replay_id = r.id
where ($1::bigint is null or r.organization_id = $1) and ($2::bigint is null or r.id = $2)
group by r.id order by r.id desc limit 100
"""
_STOP = """
update replays set state = 'stopped', reason = $2, ended_at = now() where id = $1 and state = 'running' returning id
"""
_BACK = f"update dead_letters set state = '{OPEN}', replay_id = null where replay_id = $1 and state = 'queued'"


class DeskError(Exception):
    """What was asked for cannot be done; the message says why, and what can."""


class NotThereError(DeskError):
    """No such dead letter or replay, or another organization's."""


class NotValidError(DeskError):
    """An edit that is no event of its type, or moves it to another subject."""


@dataclass(frozen=True)
class Selection:
    """Which dead letters; None leaves a condition out. `text` is looked for in reason, type, subject and ids."""

    organization: int | None = None
    ids: Sequence[int] | None = None
    fingerprint: str | None = None
    queue: str | None = None
    state: str | None = None
    text: str | None = None

    def arguments(self) -> tuple[Any, ...]:
        return self.organization, self.ids, self.fingerprint, self.queue, self.state, containing(self.text)


@dataclass(frozen=True)
class Found:
    """A page of what was found, and how much there is."""

    rows: list[asyncpg.Record]
    total: int


@dataclass(frozen=True)
class History:
    """One dead letter with its body, its earlier and later passes, and what was done with it."""

    row: asyncpg.Record
    passes: list[asyncpg.Record]
    log: list[asyncpg.Record]


async def find(tx: Transaction, selection: Selection, page: int, page_size: int) -> Found:
    """Newest first."""
    arguments = selection.arguments()
    total = await tx.fetchval(_COUNT, *arguments)
    return Found(await tx.fetch(_LIST, *arguments, page_size, (page - 1) * page_size), total)


async def groups(tx: Transaction, selection: Selection, page: int, page_size: int) -> Found:
    """By fingerprint, the largest first."""
    arguments = selection.arguments()
    total = await tx.fetchval(_GROUP_COUNT, *arguments)
    return Found(await tx.fetch(_GROUPS, *arguments, page_size, (page - 1) * page_size), total)


async def one(tx: Transaction, organization: int | None, number: int) -> History:
    """Raises NotThereError."""
    row = await tx.fetchrow(_ONE, organization, number)
    if row is None:
        raise NotThereError(f"there is no dead letter {number}")
    passes = await tx.fetch(_PASSES, row["message_id"], row["subscriber"])
    return History(row, passes, await tx.fetch(_LOG_OF_ONE, number, row["replay_id"]))


async def edit(
    tx: Transaction, organization: int | None, number: int, body: dict[str, Any], actor: str
) -> dict[str, Any]:
    """Replace the body of an open dead letter for its replay; the difference is logged and returned.

    The body must be a whole event of the same type, about the same subject of the same organization.
    """
    row = await tx.fetchrow(f"{_ONE} for update", organization, number)
    if row is None:
        raise NotThereError(f"there is no dead letter {number}")
    if row["state"] != OPEN:
        raise DeskError(f"only an open dead letter can be edited; {number} is {row['state']}")
    kind = event_types().get(row["type"])
    if kind is None:
        raise NotValidError(f"{row['type']!r} is no event that is known here, so an edit cannot be checked")
    try:
        event = kind.model_validate(body)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise NotValidError(f"this is no {row['type']}: {wrong}") from error
    if (event.subject, event.organization_id) != (row["subject"], row["organization_id"]):
        raise NotValidError(f"an edit stays with {row['subject']} of organization {row['organization_id']}")
    edited = event.model_dump(mode="json")
    difference = _difference(_json(row["edited_body"] or row["body"]), edited)
    await tx.execute("update dead_letters set edited_body = $2 where id = $1", number, event.model_dump_json().encode())
    await log(tx, row["organization_id"], actor, "edit", {"changed": difference}, [number])
    return difference


async def replay(tx: Transaction, selection: Selection, rate: int, actor: str) -> tuple[int, int]:
    """Queue what is selected and open; returns the replay's number and how many it holds.

    Raises DeskError where nothing that is open was selected.
    """
    if not 1 <= rate <= MOST_RATE:
        raise DeskError(f"rate must be between 1 and {MOST_RATE} messages a second, not {rate}")
    chosen = json.dumps({name: value for name, value in asdict(selection).items() if value is not None})
    number: int = await tx.fetchval(_NEW_REPLAY, selection.organization, actor, chosen, rate)
    total = _count(await tx.execute(_QUEUE, *selection.arguments(), number))
    if not total:
        raise DeskError("nothing that is open was selected: there is nothing to replay")
    await tx.execute("update replays set total = $2 where id = $1", number, total)
    await log(tx, selection.organization, actor, "replay", {"total": total, "rate": rate}, replay_id=number)
    return number, total


async def replays(tx: Transaction, organization: int | None, number: int | None = None) -> list[asyncpg.Record]:
    """The newest hundred, or the one, with what came of each."""
    rows: list[asyncpg.Record] = await tx.fetch(_REPLAYS, organization, number)
    if number is not None and not rows:
        raise NotThereError(f"there is no replay {number}")
    return rows


async def stop(tx: Transaction, organization: int | None, number: int, actor: str, reason: str) -> int:
    """Stop a running replay; what it has not sent is open again. Returns how many those are."""
    await replays(tx, organization, number)
    if await tx.fetchval(_STOP, number, reason) is None:
        raise DeskError(f"replay {number} has ended already")
    back = _count(await tx.execute(_BACK, number))
    await log(tx, organization, actor, "stop", {"reason": reason, "open again": back}, replay_id=number)
    return back


async def discard(tx: Transaction, selection: Selection, reason: str, actor: str) -> int:
    """Give up for good what is selected and open; returns how many. The reason is logged with each."""
    if not reason.strip():
        raise DeskError("a reason is needed: it stands in the log of each dead letter")
    rows = await tx.fetch(_DISCARD, *selection.arguments())
    await log(tx, selection.organization, actor, "discard", {"reason": reason}, [row["id"] for row in rows])
    return len(rows)


async def log(
    tx: Transaction,
    organization: int | None,
    actor: str,
    action: str,
    detail: dict[str, Any],
    ids: Sequence[int | None] = (None,),
    *,
    replay_id: int | None = None,
) -> None:
    """Who did what, with each of `ids` or with a replay."""
    await tx.execute(_LOG, organization, ids, replay_id, actor, action, json.dumps(detail))


def _count(status: str) -> int:
    """`UPDATE 17` → 17."""
    return int(status.rsplit(" ", 1)[1])


def _json(body: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(body or b"")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Field → what it was and what it is; fields of which neither has one are left out."""
    names = sorted({*before, *after})
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    }

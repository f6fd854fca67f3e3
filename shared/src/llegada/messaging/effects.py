"""The ledger of effects on the outside world: intended → asked → done; what is unknown is found out before a retry.

The key is organization, kind, subject and intent: two events that want the same thing meet in one row. A row has an
owner and the end of its lease. Whoever finds a live lease waits; whoever finds an ended one knows that an attempt may
have happened, and looks before it acts.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from llegada.events.event import Event
from llegada.messaging.gate import Way
from llegada.messaging.transaction import Transaction

P_co = TypeVar("P_co", bound=Event, covariant=True)

CALL_LIMIT = timedelta(seconds=20)
"""Hard time-out of one call at a provider."""

LEASE = timedelta(seconds=45)
"""Longer than the call's hard time-out and the commit after it; how long a killed process holds up its effect."""


@dataclass(frozen=True)
class EffectKey:
    organization_id: int
    kind: str
    subject: str
    intent: int


@dataclass(frozen=True)
class Attempt:
    """One numbered attempt at an effect, stored before the provider is called.

    `reference` is new for each attempt (letters, digits, hyphens, and the underscores of a kind; ≤ 60); `opened_at` is
    the same for all attempts, so it serves for what must be stable over them (an e-mail's Message-ID).
    `earlier_references`: oldest first. `doubted_at`: when the last attempt was made of which nobody knows what it did.
    """

    number: int
    reference: str
    opened_at: datetime
    earlier_references: tuple[str, ...] = ()
    doubted_at: datetime | None = None


@dataclass(frozen=True)
class Found:
    """The look-up saw that an earlier attempt had happened: `event` says what it did."""

    event: Event


@dataclass(frozen=True)
class SendAgain:
    """It cannot be known, or it did not happen: perform once more. `reason` is logged with the unknown outcome."""

    reason: str


@dataclass(frozen=True)
class AskStaff:
    """It cannot be known, and a double would be worse than a wait: a dead letter that asks a person."""

    reason: str
    advice: str


@dataclass(frozen=True)
class NotWanted:
    """The intent no longer stands; recorded as skipped, a success."""

    reason: str


class Effect(Protocol[P_co]):
    """What a handler returns for something that happens outside. The ledger calls the methods in this order."""

    def key(self) -> EffectKey:
        """The row in which everybody who wants this effect meets."""
        ...

    def way(self) -> Way:
        """The provider's account that the call goes through: its limits, and its circuit breaker."""
        ...

    async def still_wanted(self) -> NotWanted | None:
        """Asked right before the call: None if the effect is still wanted."""
        ...

    async def look_up(self, attempt: Attempt) -> Found | SendAgain | AskStaff:
        """Find out what an earlier attempt with unknown outcome did. Called only after one.

        Raises NotYetKnown where the provider may still tell.
        """
        ...

    async def perform(self, attempt: Attempt) -> P_co:
        """The call. Raises a Failure whose class says what may have happened."""
        ...


@dataclass(frozen=True)
class Claim:
    """What the ledger answered: exactly one of the cases that `claim` names."""

    seen: bool
    done: bool
    attempt: Attempt | None
    doubtful: bool
    held_for: timedelta


CLAIM = """
with seen as (
    select from inbox
    where subscriber = $1::text and message_id = $2::uuid and (outcome in ('done', 'skipped') or pass >= $3::integer)
), claimed as (
    insert into effects as e (organization_id, kind, subject, intent, state, outcome, attempt, owner, lease_until,
                              reference_list)
    select $4, $5::text, $6::text, $7::integer, 'intended', 'asked', 1, $8::uuid, now() + $9::interval,
           array[$10::text || '-1-' || to_hex(extract(epoch from now())::bigint)]
    where not exists (select from seen)
    on conflict (organization_id, kind, subject, intent) do update
    set state = 'intended', outcome = 'asked', attempt = e.attempt + 1,
        owner = excluded.owner, lease_until = excluded.lease_until, updated_at = now(),
        unknown_outcomes = e.unknown_outcomes + (e.outcome <> 'undone')::int,
        doubtful = e.doubtful or e.outcome <> 'undone',
        doubted_at = case when e.outcome <> 'undone' then e.updated_at else e.doubted_at end,
        reference_list = e.reference_list || ($10::text || '-' || (e.attempt + 1) || '-'
                                              || to_hex(extract(epoch from e.opened_at)::bigint))
    where e.state = 'intended' and (e.lease_until is null or e.lease_until < now())
    returning attempt, opened_at, doubtful, doubted_at, reference_list
)
select exists (select from seen) as seen, c.attempt, c.opened_at, c.doubtful, c.doubted_at, c.reference_list, e.state,
       greatest(e.lease_until - now(), interval '0') as held_for
from (select) as one
left join claimed c on true
left join effects e on e.organization_id = $4 and e.kind = $5::text and e.subject = $6::text and e.intent = $7::integer
"""


_FORGET = """
delete from effects
where organization_id = $1 and state in ('done', 'skipped') and updated_at < now() - interval '1 hour'
returning split_part(subject, '/', 2)::bigint as reservation
"""


async def claim(
    connection: Transaction, key: EffectKey, *, subscriber: str, message_id: UUID, pass_number: int, owner: UUID
) -> Claim:
    """Take the lease of the effect for `owner` and open the next attempt, in one statement.

    The answer is one of: `seen` (this delivery was settled before), `done` (another event made the effect),
    `attempt` (go), or a live lease of somebody else that ends in `held_for`.
    """
    prefix = f"{key.subject.replace('/', '-')}-{key.kind}-{key.intent}"
    row = await connection.fetchrow(CLAIM, subscriber, message_id, pass_number, *_columns(key), owner, LEASE, prefix)
    assert row is not None  # the statement always has one row
    attempt = None
    if row["attempt"] is not None:
        *earlier, reference = row["reference_list"]
        attempt = Attempt(row["attempt"], reference, row["opened_at"], tuple(earlier), row["doubted_at"])
    return Claim(
        seen=row["seen"],
        done=attempt is None and row["state"] in ("done", "skipped"),
        attempt=attempt,
        doubtful=bool(row["doubtful"]),
        held_for=row["held_for"] or timedelta(seconds=1),
    )


async def forget(tx: Transaction, organization_id: int) -> list[int]:
    """Drop a synthetic organization's effects that ended an hour ago; returns their reservations. Nobody's guest."""
    return [row["reservation"] for row in await tx.fetch(_FORGET, organization_id)]


@dataclass(frozen=True)
class Closing:
    """How an attempt ends in the ledger, written in the same statement as inbox and outbox.

    `state` done or skipped ends the effect; intended leaves it open, and `outcome` says whether the attempt is known
    not to have happened (`undone`) or not known (`unknown`).
    """

    key: EffectKey
    owner: UUID
    state: str
    outcome: str
    receipt: dict[str, Any] | None = None

    def arguments(self) -> tuple[Any, ...]:
        receipt = None if self.receipt is None else json.dumps(self.receipt)
        return (*_columns(self.key), self.owner, self.state, self.outcome, receipt)


def _columns(key: EffectKey) -> tuple[int, str, str, int]:
    return key.organization_id, key.kind, key.subject, key.intent

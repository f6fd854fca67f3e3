"""What can go wrong with a delivery, and what happens then. Pure: no clock, no I/O.

Failure
├── Transient        the answer proves that nothing was done: try again on the ladder
├── Wait             no attempt is used up
│   ├── RateLimited      the provider asks to wait at least `retry_after`
│   ├── ProviderDown     the circuit breaker is open: until it lets a probe through
│   ├── TargetAway       the provider is well, one lock or mailbox is not: as long again as the message has waited
│   ├── NotYetKnown      what an earlier attempt did may still be told
│   ├── Postponed        the message has its own time, until then it waits; staff are told once
│   ├── SlotLater        our own limit: the reserved slot comes in `retry_after`; nothing to tell staff
│   └── LeaseHeld        another delivery is inside the same effect; nothing to tell staff
├── OutcomeUnknown   the effect may or may not have happened: an attempt, and the next one finds out first
├── Permanent        the same request will never work: dead letter
├── Credentials      the account is refused: dead letter, and somebody must act
└── Undecodable      not an event that this handler knows: dead letter, body kept byte for byte
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from llegada.messaging.retry import RetryPolicy, rung_at_least, rung_at_most

OURS = "the system "
"""How a reason begins that is no provider's fault, but ours."""


class FailureClass(StrEnum):
    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    TARGET_AWAY = "target_away"
    NOT_YET_KNOWN = "not_yet_known"
    POSTPONED = "postponed"
    SLOT_LATER = "slot_later"
    LEASE_HELD = "lease_held"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PERMANENT = "permanent"
    CREDENTIALS = "credentials"
    UNDECODABLE = "undecodable"


class Failure(Exception):  # noqa: N818 - the field's word: a failure has a class, an error is one kind of it
    """`reason` is for staff, in plain words; `code` is the provider's; `advice` says what staff can do."""

    failure_class: ClassVar[FailureClass]

    def __init__(self, reason: str, *, code: str | None = None, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.advice = advice


class Transient(Failure):
    failure_class = FailureClass.TRANSIENT


class Wait(Failure):
    """Nothing went wrong that a later delivery would not find mended: no attempt is used up."""

    def __init__(
        self, reason: str, *, retry_after: timedelta, code: str | None = None, advice: str | None = None
    ) -> None:
        super().__init__(reason, code=code, advice=advice)
        self.retry_after = retry_after


class RateLimited(Wait):
    failure_class = FailureClass.RATE_LIMITED


class ProviderDown(Wait):
    failure_class = FailureClass.PROVIDER_DOWN


class TargetAway(Wait):
    """Nobody says when it is back: a gateway that lost its power, a mail server that greylists. It may take hours."""

    failure_class = FailureClass.TARGET_AWAY

    def __init__(
        self,
        reason: str,
        *,
        retry_after: timedelta = timedelta(seconds=2),
        code: str | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(reason, retry_after=retry_after, code=code, advice=advice)


class NotYetKnown(Wait):
    failure_class = FailureClass.NOT_YET_KNOWN


class Postponed(Wait):
    """It shall happen at `until` and not earlier, however long that is: giving up is weighed when it is due."""

    failure_class = FailureClass.POSTPONED

    def __init__(self, reason: str, *, until: datetime, now: datetime, advice: str | None = None) -> None:
        super().__init__(reason, retry_after=until - now, advice=advice)
        self.until = until


class SlotLater(Wait):
    failure_class = FailureClass.SLOT_LATER


class LeaseHeld(Wait):
    failure_class = FailureClass.LEASE_HELD


class OutcomeUnknown(Failure):
    failure_class = FailureClass.OUTCOME_UNKNOWN


class Permanent(Failure):
    failure_class = FailureClass.PERMANENT


class Credentials(Failure):
    failure_class = FailureClass.CREDENTIALS


class Undecodable(Failure):
    failure_class = FailureClass.UNDECODABLE


@dataclass(frozen=True)
class TryAgain:
    """Send the message to the rung of `delay`. `counts`: whether this was one of the job's attempts."""

    delay: timedelta
    counts: bool


@dataclass(frozen=True)
class GiveUp:
    """The message becomes a dead letter; `why` completes the sentence "gave up: …"."""

    why: str


Decision = TryAgain | GiveUp


def decide(failure: Failure, attempt: int, age: timedelta, policy: RetryPolicy) -> Decision:
    """What happens after `failure`, which was failure number `attempt` (from 1) of a message that is `age` old."""
    match failure:
        case LeaseHeld() | Postponed():
            return TryAgain(_rung(failure, age), counts=False)
        case Permanent() | Credentials() | Undecodable():
            return GiveUp("trying again cannot help")
        case Wait():
            if age >= policy.give_up_after:
                return GiveUp(f"still not possible after {policy.give_up_after}")
            return TryAgain(_rung(failure, age), counts=False)
        case _ if attempt >= policy.attempts:
            return GiveUp(f"failed {attempt} times")
        case _:
            return TryAgain(rung_at_least(policy.delay(attempt)), counts=True)


def _rung(wait: Wait, age: timedelta) -> timedelta:
    """What has its own time comes back before it, rung by rung; anything else not before it can be done."""
    match wait:
        case SlotLater() | Postponed():
            return rung_at_most(wait.retry_after)
        case TargetAway():
            return rung_at_least(max(wait.retry_after, age))
        case _:
            return rung_at_least(wait.retry_after)


def next_try(decision: TryAgain, now: datetime) -> datetime:
    return now + decision.delay

"""What can go wrong with a delivery, and what happens then. Pure: no clock, no I/O.

Failure
├── Transient        the answer proves that nothing was done: try again on the ladder
├── RateLimited      the provider asks to wait at least `retry_after`; not an attempt
├── ProviderDown     the circuit breaker is open: wait until it lets a probe through; not an attempt
├── NotYetKnown      what an earlier attempt did may still be told: wait; not an attempt
├── SlotLater        our own limit: the reserved slot comes in `retry_after`; not an attempt, nothing to tell staff
├── LeaseHeld        another delivery is inside the same effect: wait; not an attempt, nothing to tell staff
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


class FailureClass(StrEnum):
    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    PROVIDER_DOWN = "provider_down"
    NOT_YET_KNOWN = "not_yet_known"
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


class RateLimited(Failure):
    failure_class = FailureClass.RATE_LIMITED

    def __init__(self, reason: str, *, retry_after: timedelta, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.retry_after = retry_after


class ProviderDown(Failure):
    failure_class = FailureClass.PROVIDER_DOWN

    def __init__(self, reason: str, *, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NotYetKnown(Failure):
    failure_class = FailureClass.NOT_YET_KNOWN

    def __init__(self, reason: str, *, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class SlotLater(Failure):
    failure_class = FailureClass.SLOT_LATER

    def __init__(self, reason: str, *, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class LeaseHeld(Failure):
    failure_class = FailureClass.LEASE_HELD

    def __init__(self, reason: str, *, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


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
        case LeaseHeld():
            return TryAgain(rung_at_least(failure.retry_after), counts=False)
        case Permanent() | Credentials() | Undecodable():
            return GiveUp("trying again cannot help")
        case RateLimited() | ProviderDown() | NotYetKnown() | SlotLater():
            if age >= policy.give_up_after:
                return GiveUp(f"still not possible after {policy.give_up_after}")
            rung = rung_at_most if isinstance(failure, SlotLater) else rung_at_least
            return TryAgain(rung(failure.retry_after), counts=False)
        case _ if attempt >= policy.attempts:
            return GiveUp(f"failed {attempt} times")
        case _:
            return TryAgain(rung_at_least(policy.delay(attempt)), counts=True)


def next_try(decision: TryAgain, now: datetime) -> datetime:
    return now + decision.delay

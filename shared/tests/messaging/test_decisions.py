"""Pure parts: the ladder, the decision, the envelope, signatures."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from llegada.events.event import Event, event_types
from llegada.events.reservation import ReservationCreated
from llegada.messaging.envelope import Lane, derived_id, read, valid_traceparent
from llegada.messaging.failures import (
    Credentials,
    Failure,
    GiveUp,
    LeaseHeld,
    OutcomeUnknown,
    Permanent,
    Postponed,
    ProviderDown,
    RateLimited,
    SlotLater,
    TargetAway,
    Transient,
    TryAgain,
    Undecodable,
    decide,
)
from llegada.messaging.retry import RUNGS, RetryPolicy, rung_at_least, rung_at_most
from llegada.messaging.subscription import SignatureError, Subscription
from llegada.messaging.transaction import Transaction

POLICY, YOUNG = RetryPolicy(), timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def test_the_ladder_in_numbers() -> None:
    assert [int(rung.total_seconds()) for rung in RUNGS[:5]] == [1, 2, 4, 8, 16]
    assert RUNGS[-1] == timedelta(seconds=4096)
    assert [int(POLICY.delay(n).total_seconds()) for n in (1, 2, 3)] == [2, 4, 8]
    assert POLICY.delay(1000) == RUNGS[-1]


@pytest.mark.parametrize(("seconds", "rung"), [(0, 1), (1, 1), (1.5, 2), (5, 8), (5000, 4096)])
def test_a_delay_is_rounded_up_to_its_rung(seconds: float, rung: int) -> None:
    assert rung_at_least(timedelta(seconds=seconds)) == timedelta(seconds=rung)


@pytest.mark.parametrize(("seconds", "rung"), [(0.5, 1), (1, 1), (1.9, 1), (2, 2), (7.9, 4), (9000, 4096)])
def test_a_slot_is_never_missed_by_a_rung_that_is_too_long(seconds: float, rung: int) -> None:
    assert rung_at_most(timedelta(seconds=seconds)) == timedelta(seconds=rung)


@pytest.mark.parametrize(
    ("failure", "attempt", "decision"),
    [
        (Transient("x"), 1, TryAgain(2 * SECOND, counts=True)),
        (Transient("x"), 2, TryAgain(4 * SECOND, counts=True)),
        (Transient("x"), 3, GiveUp("failed 3 times")),
        (OutcomeUnknown("x"), 1, TryAgain(2 * SECOND, counts=True)),
        (OutcomeUnknown("x"), 3, GiveUp("failed 3 times")),
        (RateLimited("x", retry_after=5 * SECOND), 9, TryAgain(8 * SECOND, counts=False)),
        (ProviderDown("x", retry_after=30 * SECOND), 9, TryAgain(32 * SECOND, counts=False)),
        (TargetAway("x"), 9, TryAgain(64 * SECOND, counts=False)),
        (SlotLater("x", retry_after=30 * SECOND), 9, TryAgain(16 * SECOND, counts=False)),
        (LeaseHeld("x", retry_after=40 * SECOND), 9, TryAgain(64 * SECOND, counts=False)),
        (Permanent("x"), 1, GiveUp("trying again cannot help")),
        (Credentials("x"), 1, GiveUp("trying again cannot help")),
        (Undecodable("x"), 1, GiveUp("trying again cannot help")),
    ],
)
def test_what_happens_after_a_failure(failure: Failure, attempt: int, decision: object) -> None:
    assert decide(failure, attempt, YOUNG, POLICY) == decision


def test_a_target_that_is_away_is_tried_ever_more_seldom_for_a_day() -> None:
    tries, age = 0, timedelta(seconds=0)
    while isinstance(decision := decide(TargetAway("offline"), 1, age, POLICY), TryAgain):
        assert not decision.counts
        tries, age = tries + 1, age + decision.delay
    assert 20 < tries < 40
    assert age >= POLICY.give_up_after


def test_a_wait_ends_when_it_is_too_late() -> None:
    assert isinstance(decide(ProviderDown("x", retry_after=SECOND), 1, timedelta(hours=25), POLICY), GiveUp)


def test_derived_ids_tell_cause_subscriber_type_and_ordinal_apart() -> None:
    cause = uuid4()
    same = derived_id(cause, "a.b", "x.y", "0")
    assert same == derived_id(cause, "a.b", "x.y", "0")
    others = [
        (uuid4(), "a.b", "x.y", "0"),
        (cause, "a.c", "x.y", "0"),
        (cause, "a.b", "x.z", "0"),
        (cause, "a.b", "x.y", "1"),
    ]
    assert same not in {derived_id(*other) for other in others}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {
            "pass": "one",
            "attempt": -3,
            "lane": 7,
            "time": "soon",
            "organization": True,
            "subject": 5,
            "traceparent": "x",
        },
    ],
)
def test_a_foreign_message_gets_harmless_values(headers: dict[str, Any]) -> None:
    envelope = read(uuid4(), "x", None, None, headers)
    assert (envelope.pass_number, envelope.attempt, envelope.lane) == (0, 0, Lane.INTERACTIVE)
    assert (envelope.organization, envelope.subject, envelope.traceparent) == (0, "unknown", None)
    assert envelope.time.tzinfo is not None


def test_an_envelope_survives_its_headers() -> None:
    known = read(
        uuid4(), "x", "svc", "corr",
        {"subject": "reservation/1", "organization": 3, "lane": "bulk", "pass": 2, "attempt": 1, "sequence": 9,
         "causation_id": "c", "time": datetime.now(UTC).isoformat(),
         "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
    )  # fmt: skip
    assert read(known.id, known.type, known.source, known.correlation_id, known.headers()) == known


def test_traceparent_is_w3cs_or_nothing() -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert valid_traceparent(good) == good
    assert valid_traceparent("00-XYZ") is None


def test_every_event_names_a_type_and_a_version() -> None:
    assert event_types()
    for name, event in event_types().items():
        assert event.version == 1 or name.endswith(f".v{event.version}")


class Wrong:
    async def no_event(self, thing: int, tx: Transaction) -> None: ...
    async def no_transaction(self, event: ReservationCreated) -> None: ...
    async def right(self, event: ReservationCreated, tx: Transaction) -> None: ...
    async def everything(self, event: Event, tx: Transaction) -> None: ...


@pytest.mark.parametrize("handler", [Wrong.no_event, Wrong.no_transaction])
def test_a_signature_that_says_nothing_stops_the_start(handler: Any) -> None:
    with pytest.raises(SignatureError):
        Subscription("x", handler).check()


def test_a_signature_says_what_is_consumed() -> None:
    Subscription("x", Wrong.right).check()
    assert Subscription("x", Wrong.right).consumes == (ReservationCreated,)
    assert Subscription("x", Wrong.everything).consumes == (Event,)


@pytest.mark.parametrize("age", [timedelta(), POLICY.give_up_after * 2])
def test_what_is_postponed_comes_back_before_its_time_whatever_its_age(age: timedelta) -> None:
    now = datetime(2026, 12, 1, 3, tzinfo=UTC)
    for wait, rung in ((10 * 3600, 4096), (100, 64), (1.5, 1)):
        failure = Postponed("later", until=now + timedelta(seconds=wait), now=now)
        assert decide(failure, 99, age, POLICY) == TryAgain(timedelta(seconds=rung), counts=False)

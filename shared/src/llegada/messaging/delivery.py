"""The path of one delivery: inbox → handler → one transaction → ack. The same with a broker and without one.

A delivery ends settled, whatever the handler does: done, skipped, sent to a rung, or a dead letter. Only the database
can hold it up: then it waits here with what it has, takes nothing more (the prefetch bounds it), and uses up no
attempt.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar, cast
from uuid import UUID, uuid4

import structlog
from pydantic import ValidationError

from llegada.events.event import Event, event_types
from llegada.messaging import metrics, outbox, tracing
from llegada.messaging.effects import (
    CALL_LIMIT,
    LEASE,
    AskStaff,
    Attempt,
    Claim,
    Closing,
    Effect,
    Found,
    SendAgain,
    claim,
)
from llegada.messaging.envelope import Envelope
from llegada.messaging.failures import OURS, Failure, LeaseHeld, OutcomeUnknown, Permanent, Transient, Undecodable
from llegada.messaging.gate import Gate
from llegada.messaging.group_commit import GroupCommit
from llegada.messaging.inbox import Settled, Settlement, settle, settle_done
from llegada.messaging.outcomes import Outcomes
from llegada.messaging.subscription import Batch, Delivered, Published, Subscription
from llegada.messaging.transaction import Database, Transaction, outlasting
from llegada.messaging.turns import Turns

H = TypeVar("H")
T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True)
class _Pending:
    """A state change that waits for its transaction. `held_until`: see `deliver`."""

    delivered: Delivered[Event]
    held_until: datetime | None

    @property
    def message_id(self) -> UUID:
        return self.delivered.envelope.id


class Consumer(Generic[H]):
    """One subscription of a running service, bound to its handlers and its database."""

    def __init__(
        self, service: str, subscription: Subscription[H], handlers: H, database: Database, concurrency: int = 5
    ) -> None:
        """`concurrency`: how many effects may be inside their calls at once."""
        subscription.check()
        self.service = service
        self.subscription = subscription
        self.name = f"{service}.{subscription.action}"
        self.holding = 0
        """Deliveries that wait for the database."""
        self.lease_ends = 0.0
        """When the last lease of this process ends, on the monotonic clock."""
        self._has_effect = subscription.has_effect
        self._outcomes = Outcomes(service, subscription.action, subscription.retry, subscription.step)
        self._handlers = handlers
        self._database = database
        self._gate = Gate(service, database)
        self._calls = Turns(concurrency)
        self._takes_batch = subscription.takes_batch
        self._changes = GroupCommit(self._change_state)
        self._types = event_types() if Event in subscription.consumes else {t.type: t for t in subscription.consumes}
        labels = {"service": service, "subscriber": self.name}
        self._labels = labels
        self._in_flight = metrics.IN_FLIGHT.labels(**labels)
        self._seconds = metrics.DELIVERY_SECONDS.labels(**labels)
        metrics.begin(service, self.name)

    async def deliver(self, envelope: Envelope, body: bytes, held_until: datetime | None = None) -> list[int]:
        """Work one delivery until it is settled; returns the ids of the outbox rows that it wrote.

        `held_until` claims those rows for the caller at birth (inline dispatch). Raises on cancellation, and on
        errors of our own settling statement, which no retry of the message can mend.
        """
        if tracing.active is None:
            return await self._delivered(envelope, body, held_until)
        with tracing.active.delivery(self.name, envelope) as traced:
            return await self._delivered(traced, body, held_until)

    async def _delivered(self, envelope: Envelope, body: bytes, held_until: datetime | None) -> list[int]:
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(**_log_context(envelope, self.name)):
            with self._in_flight.track_inprogress():
                outcome, settled = await self._deliver(envelope, body, held_until)
            seconds = time.monotonic() - started
            self._seconds.observe(seconds)
            metrics.DELIVERIES.labels(**self._labels, outcome=outcome).inc()
            tracing.note(outcome=outcome)
            log.info("delivery", outcome=outcome, type=envelope.type, seconds=round(seconds, 4))
        return settled

    async def _deliver(self, envelope: Envelope, body: bytes, held_until: datetime | None) -> tuple[str, list[int]]:
        event: Event | None = None
        try:
            event = self._decode(envelope, body)
            if self.subscription.due is not None:
                await self._hold(partial(self.subscription.due, self._handlers, event))
            if self._has_effect:
                handler = cast("Callable[[H, Event], Effect[Any]]", self.subscription.handler)
                effect = handler(self._handlers, event)
                way = effect.way()
                failing = await self._hold(partial(self._gate.enter, self.name, envelope.id, way, envelope.lane))
                try:
                    async with self._calls.turn(envelope.lane):
                        return await self._make_effect(effect, event, envelope, body, held_until, failing=failing)
                finally:
                    if failing:
                        await self._hold(partial(self._gate.leave, way))
            return await self._changes.submit(_Pending(Delivered(event, envelope), held_until))
        except Failure as failure:
            caught = failure
        except Exception as error:
            log.exception("handler_error")
            name = type(error).__name__
            caught = Transient(f"{OURS}made an error of its own ({name} in {self.name})", code=name)
        return await self._settle(self._failed(caught, event, envelope, body), held_until)

    def _decode(self, envelope: Envelope, body: bytes) -> Event:
        cls = self._types.get(envelope.type)
        if cls is None:
            raise Undecodable(
                f"{OURS}got a message that it does not know ({envelope.type!r} at {self.name})",
                code="unknown type",
            )
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise Undecodable(
                f"{OURS}could not read a message ({envelope.type}: {where}: {first['msg']})", code="schema"
            ) from error

    async def _change_state(self, batch: Sequence[_Pending]) -> list[tuple[str, list[int]]]:
        """Inbox, state and outbox of a batch in one transaction; copies of one message count once."""
        by_id = {pending.message_id: pending for pending in reversed(batch)}
        single = [pending for pending in batch if by_id[pending.message_id] is pending]

        async def work() -> dict[UUID, list[int]]:
            async with self._database.transaction() as tx:
                new = await settle_done(tx, self.name, [pending.delivered.envelope for pending in single])
                fresh = [pending for pending in single if pending.message_id in new]
                fresh.sort(key=lambda pending: pending.delivered.envelope.subject)
                return await self._work(tx, fresh) if fresh else {}

        rows = await self._hold(work)
        return [("done", rows.pop(p.message_id)) if p.message_id in rows else ("duplicate", []) for p in batch]

    async def _work(self, tx: Transaction, fresh: Sequence[_Pending]) -> dict[UUID, list[int]]:
        """Call the handler, and write what it published; returns the outbox rows of each message."""
        published = await self._handle([pending.delivered for pending in fresh], tx)
        messages = [
            (pending, message)
            for pending, events in zip(fresh, published, strict=True)
            for message in self._outcomes.messages(pending.delivered.envelope, events)
        ]
        rows: dict[UUID, list[int]] = {pending.message_id: [] for pending in fresh}
        if messages:
            ids = await outbox.add(tx, [message for _, message in messages], [p.held_until for p, _ in messages])
            for (pending, _), row in zip(messages, ids, strict=True):
                rows[pending.message_id].append(row)
        return rows

    async def _handle(self, batch: Batch[Event], tx: Transaction) -> Sequence[Published]:
        handler: Any = self.subscription.handler
        if self._takes_batch:
            published: Sequence[Published] | None = await handler(self._handlers, batch, tx)
            return [None] * len(batch) if published is None else published
        return [await handler(self._handlers, delivered.event, tx) for delivered in batch]

    async def _make_effect(
        self,
        effect: Effect[Any],
        event: Event,
        envelope: Envelope,
        body: bytes,
        held_until: datetime | None,
        *,
        failing: bool,
    ) -> tuple[str, list[int]]:
        """Intended is committed first, then the call, then done + receipt + inbox + outbox in one statement."""
        key, owner = effect.key(), uuid4()
        claimed, lease_ends = await self._hold(lambda: self._claim(effect, envelope, owner))
        if claimed.seen:
            return "duplicate", []
        if claimed.done:
            return await self._settle(self._outcomes.done(envelope, None), held_until)
        if claimed.attempt is None:
            raise LeaseHeld("another delivery is inside the same effect", retry_after=claimed.held_for)
        try:
            not_wanted = await self._hold(effect.still_wanted)
            if not_wanted is not None:
                closing = Closing(key, owner, "skipped", "undone", {"skipped": not_wanted.reason})
                settlement = self._outcomes.skipped(envelope, not_wanted.reason, event, key.intent)
            else:
                published = await self._found(effect, claimed.attempt) if claimed.doubtful else None
                published = published or await self._call(effect, claimed.attempt, lease_ends, failing=failing)
                closing = Closing(key, owner, "done", "done", published.model_dump(mode="json"))
                settlement = self._outcomes.done(envelope, published)
        except Failure as failure:
            known = "unknown" if isinstance(failure, OutcomeUnknown) else "undone"
            closing = Closing(key, owner, "intended", known)
            settlement = self._failed(failure, event, envelope, body, key.intent)
        outcome, ids = await self._settle(replace(settlement, closing=closing), held_until)
        if outcome == "lease lost":
            metrics.LEASES_LOST.labels(service=self.service, kind=key.kind).inc()
            log.error("lease_lost", kind=key.kind, receipt_kept=False)
            raise LeaseHeld("another delivery took over the effect", retry_after=LEASE)
        return outcome, ids

    async def _claim(self, effect: Effect[Any], envelope: Envelope, owner: UUID) -> tuple[Claim, float]:
        """The claim, and the monotonic time at which its lease ends (earlier than the database thinks)."""
        self.lease_ends = lease_ends = time.monotonic() + LEASE.total_seconds()
        async with self._database.connection() as connection:
            answer = await claim(
                connection,
                effect.key(),
                subscriber=self.name,
                message_id=envelope.id,
                pass_number=envelope.pass_number,
                owner=owner,
            )
        return answer, lease_ends

    async def _found(self, effect: Effect[Any], attempt: Attempt) -> Event | None:
        """What the look-up says about an earlier attempt whose outcome nobody knows; None: perform anew."""
        kind = effect.key().kind

        async def ask() -> Found | SendAgain | AskStaff:
            try:
                return await _limited(effect.look_up(attempt))
            except TimeoutError as error:
                raise Transient(
                    f"nobody said within {CALL_LIMIT.seconds} s what the last attempt did", code="time-out"
                ) from error

        answer = await self._hold(ask)
        metrics.UNKNOWN_OUTCOMES.labels(service=self.service, kind=kind).inc()
        log.warning("outcome_unknown", kind=kind, attempt=attempt.number, decision=type(answer).__name__)
        if isinstance(answer, Found):
            return answer.event
        if isinstance(answer, AskStaff):
            raise Permanent(answer.reason, advice=answer.advice, code="outcome unknown")
        return None

    async def _call(self, effect: Effect[Any], attempt: Attempt, lease_ends: float, *, failing: bool) -> Event:
        """Perform, and tell the breaker what the provider is like."""
        way = effect.way()
        try:
            published = await self._perform(effect, attempt, lease_ends)
        except (Transient, OutcomeUnknown):
            await self._hold(partial(self._gate.failed, way))
            raise
        except Failure:
            if failing:
                await self._hold(partial(self._gate.worked, way))
            raise
        if failing:
            await self._hold(partial(self._gate.worked, way))
        return published

    async def _perform(self, effect: Effect[Any], attempt: Attempt, lease_ends: float) -> Event:
        if time.monotonic() + CALL_LIMIT.total_seconds() > lease_ends:
            raise Transient(f"{OURS}was held up before it could begin", code="lease")
        try:
            return cast("Event", await _limited(effect.perform(attempt)))
        except Failure:
            raise
        except TimeoutError as error:
            raise OutcomeUnknown(
                f"no answer came within {CALL_LIMIT.seconds} s; what was done is not known", code="time-out"
            ) from error
        except Exception as error:
            log.exception("effect_error")
            raise OutcomeUnknown(
                f"{OURS}made an error of its own ({type(error).__name__}); what was done is not known",
                code=type(error).__name__,
            ) from error

    def _failed(
        self, failure: Failure, event: Event | None, envelope: Envelope, body: bytes, intent: int = 0
    ) -> Settlement:
        failure_class = failure.failure_class.value
        metrics.FAILURES.labels(**self._labels, failure_class=failure_class).inc()
        tracing.note(failure_class=failure_class, code=failure.code or "")
        settlement = self._outcomes.failed(envelope, body, failure, event, intent, datetime.now(UTC))
        log.warning("failure", failure_class=failure_class, code=failure.code, outcome=settlement.outcome)
        return settlement

    async def _settle(self, settlement: Settlement, held_until: datetime | None) -> tuple[str, list[int]]:
        async def write() -> Settled:
            async with self._database.connection() as connection:
                return await settle(connection, settlement, held_until)

        settled = await self._hold(write)
        if not settled.held:
            return "lease lost", []
        return (settlement.outcome if settled.applied else "duplicate"), settled.ids

    async def _hold(self, operation: Callable[[], Awaitable[T]]) -> T:
        """A database operation; counted in `holding` while the database is away."""
        return await outlasting(operation, self._count_holding)

    def _count_holding(self, change: int) -> None:
        self.holding += change


async def _limited(call: Awaitable[T]) -> T:
    async with asyncio.timeout(CALL_LIMIT.total_seconds()):
        return await call


def _log_context(envelope: Envelope, subscriber: str) -> dict[str, Any]:
    what, _, number = envelope.subject.partition("/")
    return {
        "subscriber": subscriber,
        "message_id": str(envelope.id),
        "correlation_id": envelope.correlation_id,
        "causation_id": envelope.causation_id,
        "organization_id": envelope.organization,
        f"{what}_id": number,
        "pass": envelope.pass_number,
    }

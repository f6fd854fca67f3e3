"""One queue of a service, and the handler that works it. What it consumes and publishes is read from the signature."""

import types
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llegada.events.event import Event
from llegada.messaging.effects import Effect
from llegada.messaging.envelope import Envelope
from llegada.messaging.retry import RetryPolicy
from llegada.messaging.transaction import Transaction

H = TypeVar("H")
E_co = TypeVar("E_co", bound=Event, covariant=True)
Published = Event | Sequence[Event] | None


class SignatureError(TypeError):
    """A handler whose signature does not say what it consumes and publishes. Raised when the process starts."""


@dataclass(frozen=True)
class Delivered(Generic[E_co]):
    """One event of a batch, with its envelope."""

    event: E_co
    envelope: Envelope


Batch = Sequence[Delivered[E_co]]
"""Deliveries that waited at the same time, none of them settled before, sorted by subject."""


@dataclass(frozen=True)
class Subscription(Generic[H]):
    """A handler is a method of the service's handler class, of one of three kinds.

    State: `async def remember(self, event: A | B, tx: Transaction) -> C | None` changes rows inside `tx`.
    State of many at once, where it counts: `async def collect(self, batch: Batch[A | B], tx: Transaction) ->
    list[C | None] | None` returns what each delivery of the batch publishes, in order, or None for nothing at all.
    Effect: `def create_link(self, event: A) -> Effect[C]` names what shall happen outside; the ledger performs it.

    `action` completes the queue's name: `payment-worker` + `create-link` → `payment-worker.create-link`.

    `step` names the part of the booking that this job works on, where the event itself does not say it.

    `due` is asked first of all, before limits and ledger: it raises Postponed while it is too early for this event.
    """

    action: str
    handler: Callable[[H, Any], Effect[Any]] | Callable[[H, Any, Transaction], Awaitable[Any]]
    retry: RetryPolicy = RetryPolicy()
    step: str | None = None
    due: Callable[[H, Any], Awaitable[None]] | None = None

    @property
    def consumes(self) -> tuple[type[Event], ...]:
        return self._events("event") or self._events("batch")

    @property
    def publishes(self) -> tuple[type[Event], ...]:
        return self._events("return")

    @property
    def takes_batch(self) -> bool:
        return "batch" in self._hints()

    @property
    def has_effect(self) -> bool:
        hint = self._hints().get("return")
        return typing.get_origin(hint) is Effect

    def check(self) -> None:
        """Raise SignatureError unless the handler is one of the three kinds."""
        if not self.consumes:
            raise SignatureError(
                f"{self._name} must name the events that it consumes: `event: SomeEvent | …` or `batch: Batch[…]`"
            )
        takes_transaction = self._hints().get("tx") is Transaction
        if self.has_effect == takes_transaction:
            raise SignatureError(f"{self._name} must either return Effect[…] or take `tx: Transaction`")

    @property
    def _name(self) -> str:
        return getattr(self.handler, "__qualname__", self.action)

    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(self.handler)
        except NameError as error:
            raise SignatureError(f"{self._name}: import events for real, not under TYPE_CHECKING ({error})") from error

    def _events(self, where: str) -> tuple[type[Event], ...]:
        return tuple(found for found in _flat(self._hints().get(where)) if issubclass(found, Event))


def _flat(hint: Any) -> list[type]:
    """The classes inside unions, sequences, Delivered[…] and Effect[…]."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, Effect, Delivered, list, tuple, Sequence):
        return [cls for part in typing.get_args(hint) for cls in _flat(part)]
    return [hint] if isinstance(hint, type) else []

"""Where a trace is told of, and nothing else: while nobody traces, each of these hooks is one comparison with None.

A trace goes with the event: the outbox row and the envelope carry its `traceparent` (W3C Trace Context), so it survives
crashes, waits and replays. `runtime.otel` is the one that traces, and is imported only where it is configured.
"""

from collections.abc import MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from llegada.messaging.envelope import Envelope


class Tracer(Protocol):
    """What a tracer is told. A span that a hook opens is the current one of its task until it is left."""

    def request(self, scope: MutableMapping[str, Any]) -> AbstractContextManager[MutableMapping[str, Any]]:
        """An HTTP request; gives the scope in which the app finds itself inside the trace."""
        ...

    def publish(self, exchange: str, event_type: str, headers: MutableMapping[str, Any]) -> None:
        """A message leaves its outbox: it waited there since its event was made. Puts the span into the headers."""
        ...

    def delivery(self, subscriber: str, envelope: Envelope) -> AbstractContextManager[Envelope]:
        """A delivery is worked; gives the envelope of which everything that it causes is a child."""
        ...

    def call(self, provider: str, operation: str) -> AbstractContextManager[object]:
        """A call at a provider."""
        ...

    def note(self, **attributes: str | int) -> None:
        """About the current span. `failure_class` marks it as failed."""
        ...


active: Tracer | None = None
"""Set once, by `begin`, before the first message: like metrics, tracing belongs to the whole process."""


def begin(tracer: Tracer) -> None:
    global active  # noqa: PLW0603 - see `active`
    active = tracer


def call(provider: str, operation: str) -> AbstractContextManager[object]:
    """A call at a provider, where somebody traces."""
    return nullcontext() if active is None else active.call(provider, operation)


def note(**attributes: str | int) -> None:
    """About the current span, where there is one. Never names, numbers or texts of guests."""
    if active is not None:
        active.note(**attributes)

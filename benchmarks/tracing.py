"""What tracing costs: the hook of one delivery while it is off, and a span of one delivery while it is on.

    python benchmarks/tracing.py

No collector is needed: finished spans are dropped, as an exporter's queue would take them.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from llegada.messaging import tracing
from llegada.messaging.envelope import Envelope
from llegada.runtime.otel import OpenTelemetry

ROUNDS = 20_000


class _Nowhere(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002 - dropped
        return SpanExportResult.SUCCESS


def deliver(envelope: Envelope) -> None:
    """As `Consumer.deliver` does, without the work."""
    if tracing.active is None:
        tracing.note(outcome="done")
        return
    with tracing.active.delivery("payment-worker.create-link", envelope):
        tracing.note(outcome="done")


def microseconds(work: Callable[[], None]) -> float:
    """Of one round, the best of five runs."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(ROUNDS):
            work()
        best = min(best, time.perf_counter() - started)
    return best / ROUNDS * 1e6


def main() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    envelope = Envelope(uuid4(), "a.b", "tests", "reservation/1", datetime.now(UTC), 1, "c", traceparent=trace)
    headers = {**envelope.headers(), "time": envelope.time.isoformat()}
    print(f"off: {microseconds(lambda: deliver(envelope)):.2f} µs a delivery")
    tracer = OpenTelemetry("benchmark", _Nowhere())
    tracing.begin(tracer)
    print(f"on:  {microseconds(lambda: deliver(envelope)):.1f} µs a delivery")
    print(f"on:  {microseconds(lambda: tracer.publish('x', 'a.b', dict(headers))):.1f} µs a published message")
    tracer.end()


if __name__ == "__main__":
    main()

"""What a span tells, and whose child it is; over all processes: tests/end_to_end/test_observed.py."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llegada.messaging.envelope import Envelope
from llegada.runtime.otel import OpenTelemetry

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ENVELOPE = Envelope(
    uuid4(), "a.b", "tests", "reservation/1", datetime.now(UTC), 1, "c", traceparent=f"00-{TRACE}-{PARENT}-01"
)


class Told:
    """A tracer, and what it has sent once it has ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = OpenTelemetry("tests", self._exporter)

    def spans(self) -> dict[str, ReadableSpan]:
        self.tracer.end()
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def told() -> Told:
    return Told()


def ids(traceparent: str | None) -> tuple[int, int]:
    assert traceparent is not None
    _, trace, span, _ = traceparent.split("-")
    return int(trace, 16), int(span, 16)


def test_what_a_delivery_writes_and_calls_is_its_child_and_waited_since_it_was_written(told: Told) -> None:
    with told.tracer.delivery("a.job", ENVELOPE) as traced:
        with told.tracer.call("bold", "create_link"):
            pass
        headers = traced.headers()
    before = headers["traceparent"]
    told.tracer.publish("llegada.events", "a.b", headers)
    spans = told.spans()
    delivery, call, published = spans["process a.job"], spans["bold create_link"], spans["publish a.b"]
    assert delivery.parent is not None and call.parent is not None and published.parent is not None  # noqa: PT018
    assert (delivery.parent.trace_id, delivery.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    own = delivery.get_span_context()
    assert own is not None
    assert ids(before) == (own.trace_id, own.span_id)
    assert {call.parent.span_id, published.parent.span_id} == {own.span_id}
    assert ids(headers["traceparent"])[0] == own.trace_id
    assert headers["traceparent"] != before
    assert published.start_time == int(ENVELOPE.time.timestamp() * 1e9)


def test_an_error_leaves_its_class_in_the_span_and_not_its_text(told: Told) -> None:
    with pytest.raises(ValueError, match="Ana"), told.tracer.delivery("a.job", ENVELOPE):
        raise ValueError("Ana Gómez has no phone")
    span = told.spans()["process a.job"]
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert not span.status.is_ok
    assert "Ana" not in span.to_json()


def test_a_failure_that_was_settled_is_seen_with_its_class(told: Told) -> None:
    with told.tracer.delivery("a.job", ENVELOPE):
        told.tracer.note(failure_class="transient", code="500")
    span = told.spans()["process a.job"]
    assert span.attributes is not None
    assert span.attributes["llegada.failure_class"] == "transient"
    assert not span.status.is_ok


@pytest.mark.parametrize("given", [None, b"nonsense", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"])
def test_a_request_without_a_trace_begins_one_and_the_app_is_inside_it(told: Told, given: bytes | None) -> None:
    headers = [(b"accept", b"*/*")] if given is None else [(b"traceparent", given)]
    with told.tracer.request({"method": "POST", "headers": headers}) as scope:
        (inside,) = [value.decode() for name, value in scope["headers"] if name == b"traceparent"]
    span = told.spans()["POST unmatched"]
    context = span.get_span_context()
    assert span.parent is None
    assert context is not None
    assert ids(inside) == (context.trace_id, context.span_id)


def test_a_message_that_failed_has_waited_since_then_and_not_since_its_event(told: Told) -> None:
    failed_at = datetime(2026, 12, 1, tzinfo=UTC)
    headers = replace(ENVELOPE, notes={"failed_at": failed_at.isoformat()}).headers()
    told.tracer.publish("llegada.retry.2s", "a.b", headers)
    assert told.spans()["publish a.b"].start_time == int(failed_at.timestamp() * 1e9)

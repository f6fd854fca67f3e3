"""Tracing by OpenTelemetry, to whoever listens at OTEL_EXPORTER_OTLP_ENDPOINT (OTLP over HTTP).

Imported only where that is set. Sampling, batches and headers are the SDK's own variables (OTEL_TRACES_SAMPLER …).
Attributes follow the semantic conventions for HTTP and messaging; what a trace tells of a guest is an id, nothing else.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from llegada.messaging import tracing
from llegada.messaging.envelope import Envelope, valid_traceparent

_SERVER_ERROR = 500
_WAITED_SINCE = ("replayed_at", "failed_at", "time")
"""Headers that say when a message began to wait for leaving, the newest first."""


class OpenTelemetry:
    """The tracer of a process. `exporter`: where spans go instead of the configured endpoint."""

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("llegada")

    def end(self) -> None:
        """Send what is left, within the exporter's time-out."""
        self._provider.shutdown()

    @contextmanager
    def request(self, scope: MutableMapping[str, Any]) -> Iterator[MutableMapping[str, Any]]:
        parent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
        method = scope["method"]
        with self._span(method, SpanKind.SERVER, {"http.request.method": method}, _context(parent)) as span:
            others = [(name, value) for name, value in scope["headers"] if name != b"traceparent"]
            inside = {**scope, "headers": [*others, (b"traceparent", _traceparent(span).encode())]}
            yield inside
            route = getattr(inside.get("route"), "path", "unmatched")
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)

    def publish(self, exchange: str, event_type: str, headers: MutableMapping[str, Any]) -> None:
        since = next((headers[name] for name in _WAITED_SINCE if name in headers), None)
        started = None if since is None else int(datetime.fromisoformat(since).timestamp() * 1e9)
        context = _context(headers.get("traceparent"))
        attributes = {"messaging.system": "rabbitmq", "messaging.destination.name": exchange or "(default)"}
        name = f"publish {event_type}"
        span = self._tracer.start_span(name, context, SpanKind.PRODUCER, attributes, start_time=started)
        headers["traceparent"] = _traceparent(span)
        span.end()

    @contextmanager
    def delivery(self, subscriber: str, envelope: Envelope) -> Iterator[Envelope]:
        attributes: dict[str, str | int] = {
            "messaging.system": "rabbitmq",
            "messaging.destination.name": subscriber,
            "messaging.message.id": str(envelope.id),
            "messaging.message.conversation_id": envelope.correlation_id,
            "llegada.subject": envelope.subject,
            "llegada.type": envelope.type,
            "llegada.pass": envelope.pass_number,
            "llegada.attempt": envelope.attempt,
        }
        name = f"process {subscriber}"
        with self._span(name, SpanKind.CONSUMER, attributes, _context(envelope.traceparent)) as span:
            yield replace(envelope, traceparent=_traceparent(span))

    @contextmanager
    def call(self, provider: str, operation: str) -> Iterator[object]:
        attributes = {"peer.service": provider, "llegada.operation": operation}
        with self._span(f"{provider} {operation}", SpanKind.CLIENT, attributes) as span:
            yield span

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str | int], parent: Context | None = None
    ) -> Iterator[trace.Span]:
        """The current span until it is left. An error leaves its class there, not its text: it may name a guest."""
        with self._tracer.start_as_current_span(
            name, parent, kind, dict(attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", type(error).__name__)
                raise

    def note(self, **attributes: str | int) -> None:
        span = trace.get_current_span()
        span.set_attributes({f"llegada.{name}": value for name, value in attributes.items()})
        if "failure_class" in attributes or int(attributes.get("status", 0)) >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))


def begin(service: str) -> OpenTelemetry:
    """From now on this process traces."""
    tracer = OpenTelemetry(service)
    tracing.begin(tracer)
    return tracer


def _context(traceparent: str | None) -> Context:
    """The context of a parent in another process; an empty one begins a trace."""
    known = valid_traceparent(traceparent)
    if known is None:
        return Context()
    _, trace_id, span_id, flags = known.split("-")
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _traceparent(span: trace.Span) -> str:
    of = span.get_span_context()
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"

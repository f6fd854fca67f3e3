"""A collector of traces as a test needs it: OTLP over HTTP, kept in memory."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    id: str
    parent: str
    trace: str
    attributes: dict[str, str | int]
    failed: bool


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.told = ""

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]

    def take(self, request: ExportTraceServiceRequest) -> None:
        self.told += str(request)
        for resource in request.resource_spans:
            service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for s in scope.spans:
                    known = {a.key: a.value.string_value or a.value.int_value for a in s.attributes}
                    ids = s.span_id.hex(), s.parent_span_id.hex(), s.trace_id.hex()
                    self.spans.append(Span(service, s.name, *ids, known, s.status.code == s.status.STATUS_CODE_ERROR))


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.take(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Requests are no news."""


class Tree:
    """The spans of one trace."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans

    def child(self, parent: Span, service: str, name: str) -> Span:
        """The one child of that name; the assertion shows what there is instead."""
        children = [s for s in self.spans if s.parent == parent.id]
        found = [s for s in children if (s.service, s.name) == (service, name)]
        assert len(found) == 1, f"{service}: {name} under {parent.name}: {[(s.service, s.name) for s in children]}"
        return found[0]


@contextmanager
def collecting() -> Iterator[Collector]:
    """It listens until it is left."""
    with Collector() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()

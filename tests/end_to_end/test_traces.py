"""One trace from request through outbox, broker, worker, provider and projection: parents over process borders."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .conftest import Desk, Stage, until

SENT = "b7ad6b7169203331"


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


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def desk(stage: Stage, collector: Collector) -> Desk:
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    return stage.system(more={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"})


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


def test_a_trace_goes_from_the_request_to_the_guest_and_shows_the_attempt_that_failed(
    desk: Desk, collector: Collector
) -> None:
    desk.clear()
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 500}, times=1)
    trace = uuid4().hex
    desk.api.headers["traceparent"] = f"00-{trace}-{SENT}-01"
    created = desk.create()
    del desk.api.headers["traceparent"]
    desk.sent(created["id"], 60)
    sent = "process reservation-api.project"
    until(lambda: len([s for s in collector.of(trace) if s.name == sent]) >= 4, what="the projection's spans")
    until(lambda: any(s.attributes.get("peer.service") == "whatsapp" for s in collector.of(trace)))
    tree = Tree(collector.of(trace))

    (request,) = [s for s in tree.spans if s.parent == SENT]
    assert (request.service, request.name) == ("reservation-api", "POST /api/reservations")
    published = tree.child(request, "reservation-api", "publish reservation.created")
    first = tree.child(published, "payment-worker", "process payment-worker.create-link")
    assert (first.failed, first.attributes["llegada.failure_class"]) == (True, "transient")
    tree.child(first, "payment-worker", "bold create_link")
    tree.child(tree.child(first, "payment-worker", "publish job.retrying"), "reservation-api", sent)

    waited = tree.child(first, "payment-worker", "publish reservation.created")
    second = tree.child(waited, "payment-worker", "process payment-worker.create-link")
    assert (second.failed, second.attributes["llegada.pass"], second.attributes["llegada.outcome"]) == (
        False,
        1,
        "done",
    )
    tree.child(second, "payment-worker", "bold create_link")
    linked = tree.child(second, "payment-worker", "publish payment.link_created")
    tree.child(linked, "reservation-api", sent)
    complete = tree.child(linked, "notification-worker", "process notification-worker.collect")
    ready = tree.child(complete, "notification-worker", "publish notification.ready")
    sending = tree.child(ready, "notification-worker", "process notification-worker.send")
    tree.child(sending, "notification-worker", "whatsapp send")
    tree.child(tree.child(sending, "notification-worker", "publish notification.sent"), "reservation-api", sent)


def test_a_trace_tells_nothing_of_the_guest(desk: Desk, collector: Collector) -> None:
    desk.clear()
    created = desk.create("+573009998877", guestEmail="secret@guest.example")
    desk.sent(created["id"])
    until(lambda: any(s.name == "smtp send" for s in collector.spans), what="the mail's span")
    for private in ("573009998877", "secret@guest", "Ana", "checkout.bold.co"):
        assert private not in collector.told

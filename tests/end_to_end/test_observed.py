"""A whole system under a real Prometheus and Alertmanager: metrics, panels, alerts, traces."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from llegada_dev import dashboards
from llegada_dev.drill import run, watched_system
from llegada_dev.drills import SHORT, Drill, Scene
from llegada_dev.monitoring import Monitoring, program
from llegada_dev.system import System
from llegada_dev.waiting import until

from .collector import Collector, Span, Tree, collecting
from .conftest import Desk

pytestmark = pytest.mark.more

SENT = "b7ad6b7169203331"


@dataclass(frozen=True)
class Watched:
    made: System
    watch: Monitoring
    desk: Desk
    collector: Collector


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with collecting() as collector:
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with watched_system(traced) as (made, watch):
            desk = Desk(made)
            dashboards.demo_load(made, watch)
            yield Watched(made, watch, desk, collector)
            desk.close()


@pytest.fixture
def desk(watched: Watched) -> Desk:
    return watched.desk


@pytest.fixture
def collector(watched: Watched) -> Collector:
    return watched.collector


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    committed = {path: path.read_text() for path in dashboards.FOLDER.glob("*.json")}
    assert committed == dashboards.documents(), "run `make dashboards`"


def test_every_panel_shows_data_under_the_demo_load(watched: Watched) -> None:
    dashboards.let_time_pass(watched.made)
    assert dashboards.without_data(watched.watch) == []


def test_every_process_tells_its_metrics_by_prometheus_rules(watched: Watched) -> None:
    for name, port in watched.made.cluster.ports.items():
        told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        done = subprocess.run(
            [program("promtool"), "check", "metrics"], input=told, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        assert "llegada_deliveries_total" in told


@pytest.mark.parametrize("drill", SHORT, ids=lambda drill: drill.name)
def test_what_is_broken_is_told_and_its_end_too(watched: Watched, drill: Drill) -> None:
    with Scene(watched.made) as scene:
        scene.discard_dead_letters()  # the demo load's
        run(drill, scene, watched.watch)


def test_a_trace_goes_from_the_request_to_the_guest_and_shows_the_attempt_that_failed(
    desk: Desk, collector: Collector
) -> None:
    open_ones = "select 1 from reservation_api.reservations where processing_status in ('pending', 'processing')"
    until(lambda: desk.rows(open_ones) == [], 60, "nobody else takes the fault")
    desk.clear()
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 500}, times=1)
    trace = uuid4().hex
    desk.api.headers["traceparent"] = f"00-{trace}-{SENT}-01"
    created = desk.create()
    del desk.api.headers["traceparent"]
    desk.sent(created["id"], 60)
    until(lambda: whole(collector.of(trace)), 60, "every process has told its spans")


def whole(spans: list[Span]) -> bool:
    """Whether the trace is told to its end; processes send their spans in batches, each at its own time."""
    try:
        as_it_happened(Tree(spans))
    except (AssertionError, ValueError) as error:
        print(f"not yet: {error}")
        return False
    return True


def as_it_happened(tree: Tree) -> None:
    sent = "process reservation-api.project"
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
    created = desk.create("+573009998877", guestEmail="secret@guest.example", guestName="Secretissima")
    desk.sent(created["id"])
    until(lambda: any(s.name == "smtp send" for s in collector.spans), what="the mail's span")
    for private in ("573009998877", "secret@guest", "Secretissima", "checkout.bold.co"):
        assert private not in collector.told

"""A whole system under a real Prometheus and Alertmanager: metrics are right, panels have data, alerts fire."""

import subprocess
from collections.abc import Iterator

import httpx
import pytest

from llegada_dev import dashboards
from llegada_dev.drill import run, watched_system
from llegada_dev.drills import SHORT, Drill, Scene
from llegada_dev.monitoring import Monitoring, program
from llegada_dev.system import System

Watched = tuple[System, Monitoring]


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with watched_system() as both:
        dashboards.demo_load(both[0])
        yield both


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    committed = {path: path.read_text() for path in dashboards.FOLDER.glob("*.json")}
    assert committed == dashboards.documents(), "run `make dashboards`"


def test_every_panel_shows_data_under_the_demo_load(watched: Watched) -> None:
    made, watch = watched
    dashboards.let_time_pass(made)
    assert dashboards.without_data(watch) == []


def test_every_process_tells_its_metrics_by_prometheus_rules(watched: Watched) -> None:
    made, _ = watched
    for name, port in made.cluster.ports.items():
        told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        done = subprocess.run(
            [program("promtool"), "check", "metrics"], input=told, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        assert "llegada_deliveries_total" in told


@pytest.mark.parametrize("drill", SHORT, ids=lambda drill: drill.name)
def test_what_is_broken_is_told_and_its_end_too(watched: Watched, drill: Drill) -> None:
    made, watch = watched
    with Scene(made) as scene:
        scene.discard_dead_letters()  # the demo load's
        run(drill, scene, watch)

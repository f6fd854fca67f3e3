"""What the chart's monitors make of the targets is what the alert rules and the dashboards ask for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llegada.runtime.discovery import installed
from llegada_dev.cluster import ROOT
from llegada_dev.monitoring import RULES

from .conftest import Manifest, Rendered

pytestmark = pytest.mark.parametrize("rendered", ["three-zones"], indirect=True)  # the set with monitors
OPERATORS_LABELS = {"job", "instance", "namespace", "service", "pod", "container", "endpoint"}
"""Prometheus Operator puts them on every target of a ServiceMonitor, before the monitor's own relabelling."""
BROKERS_LABELS = {"queue", "vhost"}
FAMILIES = {
    "rabbitmq_detailed_queue_messages_ready": "queue_coarse_metrics",
    "rabbitmq_detailed_queue_consumers": "queue_consumer_count",
}
"""Where the broker's metrics of single queues come from (rabbitmq.com/docs/prometheus)."""
OWN = re.compile(r"^\| (`llegada_[^|]+) \| \w+ \| ([^|]*) \|", re.MULTILINE)


@pytest.fixture
def endpoints(rendered: Rendered) -> dict[str, Manifest]:
    """By job."""
    found = [endpoint for one in rendered.of("ServiceMonitor") for endpoint in one["spec"]["endpoints"]]
    return {relabelled(endpoint).get("job", ""): endpoint for endpoint in found}


def relabelled(endpoint: Manifest) -> dict[str, str]:
    """Target label → the value, or the label of the Service that it comes from."""
    rules: list[dict[str, Any]] = endpoint.get("relabelings", [])
    return {rule["targetLabel"]: rule.get("replacement") or rule["sourceLabels"][0] for rule in rules}


def own_labels() -> set[str]:
    page = (ROOT / "docs/operations/metrics.md").read_text()
    return {label for _, labels in OWN.findall(page) for label in labels.replace(" ", "").split(",")} - {""}


def asked(pattern: str) -> set[str]:
    return set(re.findall(pattern, RULES.read_text()))


def test_every_job_of_the_rules_is_made_by_a_monitor(endpoints: dict[str, Manifest]) -> None:
    assert asked(r'job="([^"]+)"')
    assert asked(r'job="([^"]+)"') <= set(endpoints)


def test_every_label_of_the_rules_is_made_by_a_monitor_or_a_metric(endpoints: dict[str, Manifest]) -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    by = {
        label.strip()
        for rule in rules
        for found in re.findall(r"by \(([^)]*)\)", rule["expr"])
        for label in found.split(",")
    }
    matched = {label for rule in rules for label in re.findall(r"[{,]\s*(\w+)\s*[=!]", rule["expr"])}
    made = {label for endpoint in endpoints.values() for label in relabelled(endpoint)}
    known = own_labels() | BROKERS_LABELS | OPERATORS_LABELS | made | {"le"}
    assert by | matched | asked(r"[$]labels[.](\w+)") <= known


def test_no_label_of_ours_gives_way_to_one_of_the_operator(endpoints: dict[str, Manifest]) -> None:
    assert own_labels() & OPERATORS_LABELS == {"service"}
    assert endpoints["llegada"]["honorLabels"] is True


def test_a_process_is_called_by_its_services_name(endpoints: dict[str, Manifest], rendered: Rendered) -> None:
    source = "__meta_kubernetes_service_label_app_kubernetes_io_name"
    assert relabelled(endpoints["llegada"])["process"] == source
    names = {one["metadata"]["labels"]["app.kubernetes.io/name"] for one in rendered.of("Service")}
    assert names == set(installed())


def test_the_broker_is_asked_for_what_rules_and_dashboards_show_of_queues(endpoints: dict[str, Manifest]) -> None:
    files = [RULES, *Path(ROOT / "deploy/grafana").glob("*.json")]
    shown = {name for path in files for name in re.findall(r"rabbitmq_detailed_\w+", path.read_text())}
    queues = endpoints["rabbitmq-queues"]
    assert queues["path"] == "/metrics/detailed"
    assert {FAMILIES[name] for name in shown} <= set(queues["params"]["family"])
    assert endpoints["rabbitmq"]["path"] == "/metrics"


def test_the_brokers_monitors_find_the_cluster_that_the_chart_makes(rendered: Rendered) -> None:
    """By the labels that the Cluster Operator gives to the Services that it makes."""
    brokers = {one["metadata"]["name"] for one in rendered.of("RabbitmqCluster")}
    for monitor in rendered.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        if wanted.get("app.kubernetes.io/component") == "rabbitmq":
            assert wanted["app.kubernetes.io/name"] in brokers

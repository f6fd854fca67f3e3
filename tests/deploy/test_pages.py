"""Commands in the operators' pages name what the chart really makes, and say where they can be typed."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from llegada.runtime.cli import _parser
from llegada.runtime.discovery import installed
from llegada_dev.cluster import ROOT

from .conftest import SETS, SITE, Manifest, helm

OPERATIONS = ROOT / "docs/operations"
PAGES = sorted(
    [*OPERATIONS.glob("runbooks/*.md"), *(OPERATIONS / f"{n}.md" for n in ("scaling", "backup", "topology"))]
)
KINDS = {"deploy": "deployment"}
NAMED = re.compile(r"\b(deployments?|deploy|secrets?|scaledobjects?|hpa)[/ ](?![-<]\s)([a-z<][-a-z<>]*)")
SELECTED = re.compile(r" -l '?([^\s'`;]+)")
OPERATORS_LABELS = {"RabbitmqCluster": "app.kubernetes.io/name", "Cluster": "cnpg.io/cluster"}
"""By which the operators' own pods are known: rabbitmq.com/kubernetes/operator, cloudnative-pg.io/documentation."""


def commands(page: Path) -> list[str]:
    """What is typed at kubectl, each without the comment behind it."""
    typed = re.findall(r"kubectl [^`\n]*", page.read_text().replace("\\\n", " "))
    return [line.partition(" #")[0] for line in typed]


@pytest.fixture(scope="module")
def objects(chart: Path) -> list[Manifest]:
    """Of all sets of values but the external one, which has no broker and no database of its own."""
    made: list[Manifest] = []
    for name in set(SETS) - {"external"}:
        done = helm("template", "llegada", str(chart), *SETS[name], *SITE)
        made += [one for one in yaml.safe_load_all(done.stdout) if one]
    return made


@pytest.fixture(scope="module")
def names(objects: list[Manifest]) -> set[tuple[str, str]]:
    """Kind and name of what the chart makes, and of the Secrets that it reads or lets a service have."""
    kinds = {"Deployment": "deployment", "ScaledObject": "scaledobject", "HorizontalPodAutoscaler": "hpa"}
    made = {(kinds[one["kind"]], one["metadata"]["name"]) for one in objects if one["kind"] in kinds}
    read = re.findall(r"'(?:secretName|name)': '(llegada-[a-z-]+)', 'key'", str(objects))
    return made | {("secret", name) for name in [*read, *(f"llegada-{service}" for service in installed())]}


@pytest.fixture(scope="module")
def labels(objects: list[Manifest]) -> set[str]:
    """`key=value` of every pod that the chart or an operator of its makes, and of the objects themselves."""
    found = {
        f"{key}={value}"
        for one in objects
        for key, value in [*one["metadata"]["labels"].items(), *_pod_labels(one).items()]
    }
    return found | {
        f"{OPERATORS_LABELS[one['kind']]}={one['metadata']['name']}"
        for one in objects
        if one["kind"] in OPERATORS_LABELS
    }


def _pod_labels(one: Manifest) -> dict[str, str]:
    found: dict[str, str] = one.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
    return found


def filled(text: str) -> list[str]:
    """Once for every service where the place of one is held."""
    return [text.replace("<service>", service) for service in installed()] if "<service>" in text else [text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_object_that_a_command_names_is_one_of_the_charts(page: Path, names: set[tuple[str, str]]) -> None:
    """Eight runbooks once named deployments without the release's name: typed at night, none of it worked."""
    for command in commands(page):
        for word, named in NAMED.findall(command):
            kind = KINDS.get(word, word.removesuffix("s"))
            assert {(kind, one) for one in filled(named)} & names, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_label_that_a_command_selects_by_is_on_a_pod(page: Path, labels: set[str]) -> None:
    for command in commands(page):
        for selector in SELECTED.findall(command):
            for one in selector.split(","):
                assert set(filled(one.replace("!=", "="))) <= labels, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_that_names_a_command_of_llegada_says_where_it_can_be_typed(page: Path) -> None:
    """Dead letters and the topology's check: the API's pod; what only the release's users may: the release's Job."""
    text = " ".join(page.read_text().split())
    for command, how in (
        ("llegada dead-letters", "kubectl exec deploy/llegada-reservation-api -- llegada dead-letters"),
        ("llegada topology check", "kubectl exec deploy/llegada-reservation-api -- llegada topology check"),
        ("llegada topology apply", "the release's Job"),
        ("llegada rights apply", "the release's Job"),
    ):
        assert command not in text or how in text


@pytest.mark.parametrize("values", SETS)
def test_the_job_after_a_restore_is_the_releases_own_with_the_mending_behind_its_migrations(
    chart: Path, values: str
) -> None:
    [script] = re.findall(r"sed -E '([^']+)'", (OPERATIONS / "backup.md").read_text())
    made = helm("template", "llegada", str(chart), *SETS[values], *SITE, "-s", "templates/prepare.yaml").stdout
    done = subprocess.run(["sed", "-E", script], input=made, capture_output=True, text=True, check=True)
    release, job = yaml.safe_load(made), yaml.safe_load(done.stdout)
    assert job["metadata"]["name"] == "llegada-restored"
    mending = job["spec"]["template"]["spec"]["initContainers"][0]
    assert "//llegada_owner:$(" in next(one["value"] for one in mending["env"] if one["name"] == "DATABASE_URL")
    *shell, line = mending.pop("command")
    assert shell == ["sh", "-c"]
    for command in line.split(" && "):
        _parser().parse_args(command.removeprefix("llegada ").split())
    assert line.endswith("llegada restored")
    release["metadata"]["name"] = "llegada-restored"
    del release["spec"]["template"]["spec"]["initContainers"][0]["args"]
    assert job == release


def test_after_a_restore_nothing_starts_before_the_numbers_are_moved_on() -> None:
    text = (OPERATIONS / "backup.md").read_text()
    steps = ["paused-replicas=0", "--replicas=0", "--for=delete", "pg_restore --exit-on-error -d llegada <",
             "job/llegada-restored", "paused-replicas-", "sh start-again.sh"]  # fmt: skip
    assert [text.index(step) for step in steps] == sorted(text.index(step) for step in steps)


def test_no_command_of_these_pages_is_overlooked() -> None:
    assert sum(len(NAMED.findall(c)) for page in PAGES for c in commands(page)) >= 15

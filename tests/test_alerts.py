"""Every alert has a rule that is tested, a runbook, and a drill; nothing of it is about an alert that is no more."""

import re
import subprocess
from pathlib import Path

import pytest

from llegada_dev.drills import DRILLS
from llegada_dev.monitoring import RULES, program
from llegada_dev.rules import alert_names, compressed

ROOT = Path(__file__).parents[1]
RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"
CASES = sorted(RULES.parent.glob("tests*.yaml"))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == alert_names()


def test_every_alert_has_a_drill_and_every_drill_alerts() -> None:
    assert {alert for drill in DRILLS for alert in drill.alerts} == alert_names()


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    said = "\n".join(path.read_text() for path in CASES)
    cases = re.findall(r'alertname="(\w+)".*\n\s+eval_time: .*\n\s+exp_samples: (\[.?)', said)
    assert {name for name, expected in cases if expected != "[]"} == alert_names()
    assert {name for name, expected in cases if expected == "[]"} == alert_names()


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_says_what_guests_feel_what_to_do_and_when_it_is_over(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}: ")
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Look at", "## Type", "## Over when"]
    assert "**For guests.** " in text


@pytest.mark.parametrize("command", [("check", "rules", str(RULES)), *(("test", "rules", str(c)) for c in CASES)])
def test_the_rules_are_right_and_fire_as_their_cases_say(command: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_drill_compresses_ranges_and_waiting_and_nothing_else() -> None:
    rules = {rule["alert"]: rule for group in compressed(60)["groups"] for rule in group["rules"] if "alert" in rule}
    assert rules["CredentialsRefused"]["expr"].endswith('{failure_class="credentials"}[15s])) > 0')
    assert rules["ProcessDown"]["for"] == "2s"
    assert "> 60" in rules["OutboxStuck"]["expr"]

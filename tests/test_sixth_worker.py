"""A new worker is one folder: the guide's example is copied into a clone, and nothing else there changes."""

import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(clone: Path, *command: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        command, cwd=clone, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_the_guides_worker_runs_and_nothing_else_changes(
    tmp_path: Path, database_url: str, own_broker_url: str
) -> None:
    clone = tmp_path / "clone"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in files:
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    run(clone, "git", "init", "-q")
    run(clone, "git", "add", "-A")
    run(clone, "git", "-c", "user.name=x", "-c", "user.email=x@example.test", "commit", "-qm", "before")
    shutil.copytree(clone / "docs/guides/example-worker", clone / "services/example-worker")
    run(clone, "uv", "lock", "-q")
    run(clone, "uv", "sync", "-q", "--all-packages", "--frozen")
    llegada = str(clone / ".venv/bin/llegada")
    assert "example-worker.welcome: ReservationCreated -> nothing" in run(clone, llegada, "describe")
    described = json.loads(run(clone, llegada, "describe", "--json"))
    assert described["example-worker.welcome"]["consumes"] == ["reservation.created"]
    run(clone, llegada, "migrate", "example-worker", DATABASE_URL=database_url)
    assert "exchanges" in run(clone, llegada, "topology", "apply", DATABASE_URL=database_url, AMQP_URL=own_broker_url)
    run(clone, str(clone / ".venv/bin/pytest"), "-q", "-p", "no:randomly", "tests/test_architecture.py")
    changed = run(clone, "git", "status", "--porcelain").splitlines()
    assert sorted(changed) == [" M uv.lock", "?? services/example-worker/"]

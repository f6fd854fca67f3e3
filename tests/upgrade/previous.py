"""The release before this one: which it is, its files, and its processes' environment.

It is the newest tag `v…` behind this commit; while there is none, the revision in the file PREVIOUS beside this one.
How it moves: docs/decisions/0040-previous-release.md.
"""

import os
import shutil
import subprocess
from pathlib import Path

from llegada_dev.cluster import ROOT, Release
from llegada_dev.infrastructure import say

_FALLBACK = Path(__file__).with_name("PREVIOUS")
_CACHE = ROOT / ".llegada" / "releases"


class NoPreviousRelease(Exception):  # noqa: N818 - says what is the case
    """The history does not hold it."""


def revision() -> str:
    """The full commit id. Raises NoPreviousRelease where the clone lacks it."""
    tag = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
    name = tag or _FALLBACK.read_text().strip()
    found = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if found is None:
        raise NoPreviousRelease(
            f"the previous release {name} is not in this clone; get it: git fetch --unshallow --tags"
        )
    return found


def files_of(commit: str, folder: str) -> dict[str, str]:
    """The content of every Python file under folders that match the pathspec, by path."""
    listed = _git("ls-tree", "-r", "--name-only", commit) or ""
    paths = [path for path in listed.splitlines() if f"/{folder}/" in path and path.endswith(".py")]
    return {path: _git("show", f"{commit}:{path}") or "" for path in paths}


def checkout() -> Release:
    """Its files and its locked environment, made once and kept in `.llegada/releases`."""
    commit = revision()
    target = _CACHE / commit
    release = Release(target, target / ".venv/bin/python")
    if not (target / "ready").exists():
        shutil.rmtree(_CACHE, ignore_errors=True)  # also those before it
        target.mkdir(parents=True)
        say(f"the previous release, {commit[:10]}: its files and its locked environment (once)")
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "-x"], cwd=target, input=packed.stdout, check=True)
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        environment["UV_COMPILE_BYTECODE"] = "1"
        command = ["uv", "sync", "-q", "--all-packages", "--frozen"]
        subprocess.run(command, cwd=target, env=environment, check=True)
        (target / "ready").touch()
    return release


def _git(*arguments: str) -> str | None:
    """What git says; None where it refuses."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.rstrip("\n") if done.returncode == 0 else None

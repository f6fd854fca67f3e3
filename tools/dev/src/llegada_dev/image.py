"""`make image`: the shipped Dockerfile, built and tried. By a Docker engine; or, where none answers, by buildah as root
without any daemon, over a base image that debootstrap makes from Debian's packages on this machine.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from llegada_dev.cluster import ROOT
from llegada_dev.infrastructure import docker_answers, say
from llegada_dev.packages import install
from llegada_dev.server import StartFailed

_FOLDER = ROOT / ".tools/image"
_BASE, _BUILD_BASE = "localhost/llegada-base", "localhost/llegada-build-base"
_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(service: str) -> None:
    """`llegada:<service>`; StartFailed where it cannot be built, or its entry point does not work."""
    if docker_answers():
        tag = f"llegada:{service}"
        _run(["docker", "build", "-f", "deploy/Dockerfile", "--build-arg", f"SERVICE={service}", "-t", tag, "."])
        say(_run(["docker", "run", "--rm", "--read-only", tag, "describe"]))
        return
    _with_buildah(service)


def _with_buildah(service: str) -> None:
    if os.geteuid() != 0:
        raise StartFailed("no Docker engine answers, and buildah without one needs root here")
    for tool in ("buildah", "debootstrap"):
        if shutil.which(tool) is None and not install([tool]):
            raise StartFailed(f"no Docker engine answers, and {tool} cannot be installed here")
    known = {name for image in json.loads(_buildah("images", "--json") or "[]") for name in image.get("names") or []}
    if f"{_BUILD_BASE}:latest" not in known:
        _make_bases()
    say(f"building the image ({service})")
    arguments = [f"SERVICE={service}", f"BASE={_BASE}", f"BUILD_BASE={_BUILD_BASE}"]
    given = [part for argument in arguments for part in ("--build-arg", argument)]
    tag = f"localhost/llegada:{service}"
    _buildah("bud", "--format", "docker", "--isolation", "chroot", *given, "-f", "deploy/Dockerfile", "-t", tag, ".")
    _try(tag, service)


def _try(tag: str, service: str) -> None:
    """The entry point, as the image's user, who can write nowhere but /tmp; size, and what is inside."""
    container = _buildah("from", tag)
    try:
        described = _buildah("run", "--isolation", "chroot", container, "--", "llegada", "describe")
        writes = "for f in /opt/llegada/x /usr/x /x; do touch $f 2>/dev/null && exit 1; done"
        script = f"{writes}; for t in gcc uv; do command -v $t && exit 1; done; id -u"
        user = _buildah("run", "--isolation", "chroot", container, "--", "sh", "-c", script)
        root = Path(_buildah("mount", container))
        parts = json.loads((root / "opt/llegada/sbom.cdx.json").read_text())["components"]
    finally:
        _buildah("rm", container)
    queues = described.splitlines()
    if user != "10001" or not queues or (service != "all" and not all(q.startswith(service) for q in queues)):
        raise StartFailed(f"the image does not do what it should:\n{user}\n{described}")
    size = next(i["size"] for i in json.loads(_buildah("images", "--json", tag)))
    say(f"{tag}: {size}, {len(queues)} queues described as user {user}, {len(parts)} components in its SBOM")


def _make_bases() -> None:
    """Debian with Python, and the same with `venv` for the build; the machine's own certificates are trusted."""
    say("making a base image with debootstrap (a minute or two) …")
    base = _FOLDER / "base"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    lines = _SOURCES.read_text().splitlines() if _SOURCES.exists() else []
    mirror = next((line.split()[1] for line in lines if line.startswith("URIs:")), "")
    suite = next((line.split()[1] for line in lines if line.startswith("Suites:")), "bookworm")
    try:
        _base(base, "python3,ca-certificates", suite, mirror, _BASE)
        shutil.rmtree(base)
        base.mkdir()
        _base(base, "python3,python3-venv,ca-certificates", suite, mirror, _BUILD_BASE)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _base(folder: Path, packages: str, suite: str, mirror: str, tag: str) -> None:
    _run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(folder), *([mirror] if mirror else [])]
    )
    for own in Path("/usr/local/share/ca-certificates").glob("*.crt"):
        shutil.copy2(own, folder / "usr/local/share/ca-certificates" / own.name)
    _run(["chroot", str(folder), "update-ca-certificates"])
    for litter in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(folder / litter, ignore_errors=True)
    container = _buildah("from", "scratch")
    _buildah("add", "-q", container, str(folder), "/")
    _buildah("config", "--env", f"PATH={_PATH}", container)
    _buildah("commit", "-q", container, tag)
    _buildah("rm", container)


def _buildah(*arguments: str) -> str:
    store = ["--storage-driver", "vfs", "--root", str(_FOLDER / "store"), "--runroot", str(_FOLDER / "run")]
    return _run(["buildah", *store, *arguments])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StartFailed(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()

"""Debian's packages, for what no Python wheel holds: where that is possible, and without starting their servers."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from llegada_dev.server import StartFailed


def install(names: Sequence[str]) -> bool:
    """False where it is not possible: Debian or Ubuntu is needed, and root or passwordless sudo."""
    if shutil.which("apt-get") is None:
        return False
    become: list[str] = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], check=False).returncode != 0:
            return False
        become = ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    policy = Path("/usr/sbin/policy-rc.d")
    quiet = os.geteuid() == 0 and not policy.exists()
    try:
        if quiet:  # the package would start the machine's own instance
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *names]):
            done = subprocess.run(
                [*become, "apt-get", *arguments], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise StartFailed(f"apt-get {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    finally:
        if quiet:
            policy.unlink(missing_ok=True)
    return True

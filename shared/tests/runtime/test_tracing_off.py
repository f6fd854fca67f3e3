"""Tracing costs nothing while it is off."""

import subprocess
import sys


def test_without_an_endpoint_the_sdk_is_not_even_imported() -> None:
    program = "import sys, llegada.runtime.run; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

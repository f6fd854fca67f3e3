"""Waiting for something that another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(check: Callable[[], T], seconds: float = 30, what: str = "", pause: float = 0.05) -> T:
    """Ask again until the answer is true, and return it; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or check}")
        time.sleep(pause)
    return answer

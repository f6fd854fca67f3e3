"""The alerting rules, and the same with their time compressed for a drill."""

import re
from typing import Any

import yaml

from llegada_dev.monitoring import RULES

FACTOR = 60
"""In a drill a minute is a second: ranges and `for:` are divided by this. Thresholds stay what they are."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE = re.compile(r"\[(\d+)([smhd])\]")
_DURATION = re.compile(r"^(\d+)([smhd])$")
_SHORTEST = 4
"""Seconds: a rate needs some scrapes."""


def read() -> dict[str, Any]:
    """The rules as they are shipped."""
    found: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return found


def alert_names() -> set[str]:
    return {rule["alert"] for group in read()["groups"] for rule in group["rules"] if "alert" in rule}


def compressed(factor: int = FACTOR) -> dict[str, Any]:
    """Generated from the shipped ones, so that a drill tries what an installation runs."""
    content = read()
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(lambda m: f"[{max(_seconds(m) // factor, _SHORTEST)}s]", rule["expr"])
            waits = _DURATION.match(rule.get("for", ""))
            if waits is not None:
                rule["for"] = f"{_seconds(waits) // factor}s"
    return content


def _seconds(match: re.Match[str]) -> int:
    return int(match[1]) * _UNITS[match[2]]

"""Faults on order: per provider, operation and account; so many times, or with a probability and a seed."""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["latency", "status", "provider_error", "timeout", "answer_lost", "cut", "down"]
HOLD_SECONDS = 120.0
"""How long a time-out fault keeps a connection open if the client never leaves."""


class FaultRequest(BaseModel):
    """What `POST /_sandbox/faults` takes; `value` depends on `kind` (README)."""

    model_config = ConfigDict(extra="forbid")

    provider: Literal["bold", "whatsapp", "smtp"]
    operation: str | None = None
    account: str | None = None
    kind: Kind
    value: Any = None
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None

    @model_validator(mode="after")
    def _value_fits(self) -> "FaultRequest":
        if self.kind == "latency" and not _is_latency(self.value):
            raise ValueError('latency needs seconds, {"uniform": [from, to]} or {"lognormal": [median, sigma]}')
        if self.kind == "status" and not (isinstance(self.value, int) and 300 <= self.value <= 599):  # noqa: PLR2004
            raise ValueError("status needs an HTTP status from 300 to 599")
        if self.kind == "provider_error" and self.value is None:
            raise ValueError("provider_error needs the provider's code, or {status, code}")
        return self


def _is_latency(value: Any) -> bool:
    if isinstance(value, int | float):
        return value >= 0
    if not isinstance(value, dict) or len(value) != 1:
        return False
    name, numbers = next(iter(value.items()))
    return name in ("uniform", "lognormal") and isinstance(numbers, list) and len(numbers) == 2  # noqa: PLR2004


@dataclass
class Fault:
    id: int
    request: FaultRequest
    left: int | None
    source: random.Random = field(repr=False)

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, **self.request.model_dump(exclude_none=True), "left": self.left}


class Faults:
    """The faults in force. Latencies add up; of the other kinds the oldest that matches is taken."""

    def __init__(self, latency: Any = None) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = count(1)
        self._random = random.Random()  # noqa: S311 - latency, no secret
        self._latency = latency

    def add(self, request: FaultRequest) -> int:
        number = next(self._ids)
        self._faults[number] = Fault(number, request, request.times, random.Random(request.seed))  # noqa: S311
        return number

    def remove(self, number: int) -> bool:
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        return [fault.shown() for fault in self._faults.values()]

    async def delay(self, provider: str, operation: str, account: str) -> None:
        """Wait as long as the provider takes."""
        seconds = draw(self._latency, self._random)
        for fault in list(self._faults.values()):
            if fault.request.kind == "latency" and self._hits(fault, provider, operation, account):
                seconds += draw(fault.request.value, fault.source)
        if seconds:
            await asyncio.sleep(seconds)

    def take(self, provider: str, operation: str, account: str) -> FaultRequest | None:
        """The fault that this request meets, if any."""
        for fault in list(self._faults.values()):
            if fault.request.kind != "latency" and self._hits(fault, provider, operation, account):
                return fault.request
        return None

    def _hits(self, fault: Fault, provider: str, operation: str, account: str) -> bool:
        wanted = fault.request
        if wanted.provider != provider or wanted.operation not in (None, operation):
            return False
        if wanted.account not in (None, account) or fault.source.random() >= wanted.probability:
            return False
        if fault.left is not None:
            fault.left -= 1
            if fault.left == 0:
                del self._faults[fault.id]
        return True


def draw(value: Any, source: random.Random) -> float:
    """Seconds: fixed, uniform between two, or log-normal by median and sigma."""
    if value is None:
        return 0.0
    if isinstance(value, int | float):
        return float(value)
    if "uniform" in value:
        low, high = value["uniform"]
        return source.uniform(low, high)
    median, sigma = value["lognormal"]
    return float(median * source.lognormvariate(0, sigma))

"""Faults on order: per provider, operation and account; so many times, or with a probability and a seed."""

import asyncio
import math
import random
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ProviderName = Literal["bold", "whatsapp", "smtp", "ttlock", "sire"]
Kind = Literal["latency", "status", "provider_error", "timeout", "answer_lost", "cut", "down"]

OPERATIONS: dict[str, tuple[str, ...]] = {
    "bold": ("create_link", "link_status", "payment_methods", "notifications"),
    "whatsapp": ("send",),
    "ttlock": ("token", "get", "add", "delete", "list"),
    "sire": ("register",),
    "smtp": ("data", "rcpt", "connect"),
}
"""What a fault can be aimed at. SMTP's `data` is the final dot."""

HOLD_SECONDS = 120.0
"""How long a time-out fault keeps a connection open if the client never leaves."""


class FaultRequest(BaseModel):
    """What `POST /_sandbox/faults` takes; `value` depends on `kind` (README)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    provider: ProviderName
    operation: str | None = None
    account: str | None = None
    kind: Kind
    value: Any = None
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        allowed = OPERATIONS[self.provider]
        if self.operation is not None and self.operation not in allowed:
            raise ValueError(f"{self.provider} has no operation {self.operation!r}; allowed are {', '.join(allowed)}")
        problem = _value_problem(self.provider, self.kind, self.value) or self._place_problem()
        if problem is not None:
            raise ValueError(f"{problem}; got {self.value!r}")
        return self

    def _place_problem(self) -> str | None:
        """A combination that could never hit anything."""
        if self.provider != "smtp":
            return None
        if self.operation == "connect" and self.kind in ("latency", "answer_lost"):
            return "SMTP's operation connect takes no latency and no answer_lost: it has no answer of its own"
        if self.operation == "rcpt" and self.kind == "answer_lost":
            return "SMTP's operation rcpt takes no answer_lost: it has no effect"
        on_connect = self.kind == "down" or self.operation == "connect"
        if on_connect and (self.account is not None or self.operation not in (None, "connect")):
            return "a fault at SMTP's connect takes no account, and down no operation: nobody has said anything yet"
        return None


def _value_problem(provider: str, kind: str, value: Any) -> str | None:
    """What the value should have been; None if it fits."""
    match kind:
        case "latency":
            shapes = 'seconds, {"uniform": [from, to]} or {"lognormal": [median, sigma]}'
            return None if _is_latency(value) else f"the value of latency must be {shapes}"
        case "status" if provider == "smtp":
            return "SMTP has no HTTP status: use provider_error with a reply code such as 451"
        case "status":
            shapes = 'an HTTP status from 300 to 599, or {"status": 429, "retry_after": 5}'
            return None if _is_status(value) else f"the value of status must be {shapes}"
        case "provider_error":
            return _error_problem(provider, value)
        case "timeout":
            allowed = value is None or value == "after_effect"
            return None if allowed else 'the value of timeout must be left out, or "after_effect"'
        case _:
            return None if value is None else f"{kind} takes no value"


def _error_problem(provider: str, value: Any) -> str | None:
    """As `_value_problem`, for the providers' own errors."""
    if provider == "smtp":
        reply = str(value)[:3] if _is_int(value) or isinstance(value, str) else ""
        fits = len(reply) == 3 and reply.isdigit() and reply[0] in "45"  # noqa: PLR2004 - RFC 5321 §4.2
        return None if fits else 'the value of provider_error for smtp must be a reply such as 451 or "451 4.3.2 text"'
    whole = value if isinstance(value, dict) else {"code": value}
    code, status = whole.get("code"), whole.get("status")
    known = set(whole) <= {"code", "status"} and (status is None or (_is_int(status) and _is_status(status)))
    if provider == "ttlock":
        fits, example = _is_int(value), "-3003"
    elif provider == "whatsapp":
        fits, example = _is_int(code), '131047 or {"code": 130429, "status": 429}'
    else:
        fits = _is_int(code) or (isinstance(code, str) and code != "") or (code is None and status is not None)
        example = '"AP001" or {"status": 500, "code": "AP001"}'
    return None if fits and known else f"the value of provider_error for {provider} must be like {example}"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_status(value: Any) -> bool:
    if isinstance(value, dict):
        wait, status = value.get("retry_after"), value.get("status")
        return set(value) <= {"status", "retry_after"} and _is_int(status) and _is_status(status) and (
            wait is None or _is_amount(wait)
        )  # fmt: skip
    return _is_int(value) and 300 <= value <= 599  # noqa: PLR2004 - RFC 9110's classes that are no success


def _is_amount(value: Any) -> bool:
    """A finite number, zero or more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value >= 0


def _is_latency(value: Any) -> bool:
    match value:
        case {"uniform": [low, high], **rest} if not rest:
            return _is_amount(low) and _is_amount(high) and low <= high
        case {"lognormal": [median, sigma], **rest} if not rest:
            return _is_amount(median) and _is_amount(sigma)
        case _:
            return _is_amount(value)


@dataclass(eq=False)
class Fault:
    """A fault in force. `hits` counts the requests that met it; at `times` it is over, but still shown."""

    id: int
    request: FaultRequest
    source: random.Random = field(repr=False)
    hits: int = 0

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, **self.request.model_dump(exclude_none=True), "hits": self.hits, "over": self.over}

    @property
    def over(self) -> bool:
        return self.request.times is not None and self.hits >= self.request.times


class Faults:
    """The faults in force. Latencies add up; of the other kinds a request meets the oldest that fits."""

    def __init__(self, latency: Any = None) -> None:
        self._all: dict[int, Fault] = {}
        self._active: list[Fault] = []
        self._ids = count(1)
        self._random = random.Random()  # noqa: S311 - latency, no secret
        self._latency = latency

    def add(self, request: FaultRequest) -> int:
        fault = Fault(next(self._ids), request, random.Random(request.seed))  # noqa: S311 - as above
        self._all[fault.id] = fault
        self._active.append(fault)
        return fault.id

    def remove(self, number: int) -> bool:
        fault = self._all.pop(number, None)
        if fault in self._active:
            self._active.remove(fault)
        return fault is not None

    def clear(self) -> None:
        self._all.clear()
        self._active.clear()

    def shown(self) -> list[dict[str, Any]]:
        return [fault.shown() for fault in self._all.values()]

    async def delay(self, provider: str, operation: str, account: str, *, aimed: bool = False) -> None:
        """Wait as long as the provider takes. `aimed`: only faults that name the operation count."""
        seconds = 0.0 if aimed or self._latency is None else draw(self._latency, self._random)
        for fault in list(self._active):
            if fault.request.kind == "latency" and self._hits(fault, provider, operation, account, aimed=aimed):
                seconds += draw(fault.request.value, fault.source)
        if seconds:
            await asyncio.sleep(seconds)

    def take(self, provider: str, operation: str, account: str, *, aimed: bool = False) -> FaultRequest | None:
        """The fault that this request meets, if any; it is counted. `aimed` as in `delay`."""
        for fault in list(self._active):
            if fault.request.kind != "latency" and self._hits(fault, provider, operation, account, aimed=aimed):
                return fault.request
        return None

    def take_at_connect(self) -> FaultRequest | None:
        """The fault that a new SMTP connection meets before anybody said anything."""
        for fault in list(self._active):
            wanted = fault.request
            at_connect = wanted.kind == "down" or wanted.operation == "connect"
            if at_connect and self._hits(fault, "smtp", "connect", "", aimed=wanted.operation is not None):
                return wanted
        return None

    def _hits(self, fault: Fault, provider: str, operation: str, account: str, *, aimed: bool) -> bool:
        wanted = fault.request
        if wanted.provider != provider or wanted.operation not in ((operation,) if aimed else (None, operation)):
            return False
        if provider == "smtp" and wanted.kind == "down" and operation != "connect":
            return False  # a mail server that is down does not get as far as this
        if wanted.account not in (None, account) or fault.source.random() >= wanted.probability:
            return False
        fault.hits += 1
        if fault.over:
            self._active.remove(fault)
        return True


def draw(value: Any, source: random.Random) -> float:
    """Seconds: fixed, uniform between two, or log-normal by median and sigma."""
    if not isinstance(value, dict):
        return float(value)
    if "uniform" in value:
        low, high = value["uniform"]
        return source.uniform(low, high)
    median, sigma = value["lognormal"]
    return float(median * source.lognormvariate(0, sigma))

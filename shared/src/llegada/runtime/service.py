"""What a process is made of: a Service value, read by everything, started by `run`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from llegada.messaging.inline import InlineDispatcher
from llegada.messaging.subscription import Subscription
from llegada.messaging.transaction import Database
from llegada.runtime.settings import RuntimeSettings

S = TypeVar("S")
H = TypeVar("H")


@dataclass(frozen=True)
class Resources:
    """What the runtime lends to a service while it runs.

    `database` is the service's schema under the system role. `engine_as(role)` gives an engine of the same schema
    whose connections act as another database role (row-level security). `inline` is there where QUEUE_ENABLED=false:
    the dispatcher that works outbox rows inside the request. `schemas` are those of all installed services. `stopping`:
    set when the drain begins, so that what waits for news can end.
    """

    settings: RuntimeSettings
    database: Database
    engine_as: Callable[[str], AsyncEngine]
    inline: InlineDispatcher | None
    schemas: dict[str, str]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Periodic(Generic[S, H]):
    """Work that the clock starts, every so many seconds. Replicas may do it at the same time: the database decides."""

    name: str
    seconds: float
    work: Callable[[S, Resources, H], Awaitable[None]]


@dataclass(frozen=True)
class Service(Generic[S, H]):
    """Static, so that topology, documentation and tests can read it without starting anything.

    `app` is given where the process answers more than health and metrics over HTTP. `keeps_dead_letters`: the one
    service in whose schema the dead letters of all services rest.
    """

    name: str
    settings: Callable[[], S]
    build: Callable[[S, Resources], AbstractAsyncContextManager[H]]
    subscriptions: tuple[Subscription[H], ...]
    app: Callable[[S, Resources, H], ASGIApp] | None = None
    keeps_dead_letters: bool = False
    periodic: tuple[Periodic[S, H], ...] = ()

    @property
    def package(self) -> str:
        """The Python package, and the database schema."""
        return self.name.replace("-", "_")

"""Start, supervise, drain: one service or all of them in one process.

HTTP is up first, so that requests are accepted while the broker is away; relay and consumers start after a passive
check of the topology. Stops run side by side under one deadline. A background task that dies by a bug ends the
process at once: whatever supervises it starts it again.
"""

import asyncio
import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any

import aio_pika
import httpx
import structlog
import uvicorn
import uvloop
from prometheus_client import disable_created_metrics
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from llegada.messaging import metrics
from llegada.messaging.broker import Binding, DeadLetterQueues
from llegada.messaging.dead_letters import Keeper
from llegada.messaging.delivery import Consumer
from llegada.messaging.inline import InlineDispatcher
from llegada.messaging.publisher import BROKER_AWAY, Publisher
from llegada.messaging.relay import Relay
from llegada.messaging.replays import Replayer
from llegada.messaging.topology import UNROUTABLE, Topology, TopologyError, check, dead_letter_queue, topology
from llegada.messaging.topology_check import Finding, findings, snapshot
from llegada.messaging.transaction import Database
from llegada.runtime import discovery
from llegada.runtime.database import EMBEDDED_ROLE, SYSTEM_ROLE, engine, own_role
from llegada.runtime.logging import configure
from llegada.runtime.periodic import Clockwork
from llegada.runtime.service import Resources, Service
from llegada.runtime.settings import RuntimeSettings, SettingsError, explain
from llegada.runtime.watchdog import Watchdog, depth_over_amqp
from llegada.runtime.web import Health, ProcessApp

log = structlog.get_logger()

_LOGIN = "none"
"""The relay acts as the login itself: ending a silent relay's connection asks for the same login."""
_RELAY_SILENT = 30.0  # seconds


class Process:
    """The services of one process, from start to drain."""

    def __init__(self, settings: RuntimeSettings, services: Sequence[Service[Any, Any]]) -> None:
        self.settings = settings
        self._services = services
        self._stack = AsyncExitStack()
        self._databases: dict[str, Database] = {}
        self._consumers: dict[str, list[Consumer[Any]]] = {}
        self._bindings: list[Binding] = []
        self._relays: list[Relay] = []
        self._inline: InlineDispatcher | None = None
        self._keeper: Keeper | None = None
        self._replayer: Replayer | None = None
        self._watchdog = Watchdog(self._bindings, self._relays, self._database_answers, self._depth)
        self._clockworks: list[Clockwork] = []
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; returns after the drain. Ends the process where a background task dies."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        async with self._stack:
            app = await self._build()
            server = _Server(app, self.settings)
            gc.collect()
            gc.freeze()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(vital(server.serve()))
                tasks.create_task(vital(self._watchdog.run()))
                if self._inline is not None:
                    tasks.create_task(vital(self._inline.loop()))
                if self._replayer is not None:
                    tasks.create_task(vital(self._replayer.run()))
                for clockwork in self._clockworks:
                    tasks.create_task(vital(clockwork.run(self._stopping)))
                messages = self.settings.amqp_url is not None and self.settings.periodic_work != "only"
                messaging = tasks.create_task(vital(self._messaging())) if messages else None
                tasks.create_task(vital(self._end(server, messaging)))

    async def _build(self) -> ProcessApp:
        installed = discovery.installed()
        inside = self._services if self.settings.queue_enabled else list(installed.values())
        for service in inside:
            self._databases[service.name] = Database(
                self._engine(service.package, self._role(service)), service.package
            )
            self._consumers[service.name] = []
        schemas = {name: service.package for name, service in installed.items()}
        self._keep_dead_letters(inside, schemas)
        if not self.settings.queue_enabled:
            if self._keeper is None:
                raise SettingsError("QUEUE_ENABLED=false needs the service that keeps dead letters beside the others")
            self._inline = InlineDispatcher(self._databases, self._keeper)
        app = None
        for service in inside:
            settings = _own_settings(service)
            resources = Resources(
                settings=self.settings,
                database=self._databases[service.name],
                engine_as=partial(self._engine, service.package),
                inline=self._inline,
                schemas=schemas,
                stopping=self._stopping,
            )
            handlers = await self._stack.enter_async_context(service.build(settings, resources))
            database = self._databases[service.name]
            concurrency = self.settings.queue_concurrency
            consumers = [Consumer(service.name, s, handlers, database, concurrency) for s in service.subscriptions]
            self._consumers[service.name] = consumers
            metrics.HELD.labels(service=service.name).set_function(partial(_held, consumers))
            if self._inline is not None:
                self._inline.add(consumers)
            only_periodic = self.settings.periodic_work == "only"
            if service.app is not None and service in self._services and not only_periodic:
                app = service.app(settings, resources, handlers)
            if self.settings.periodic_work != "elsewhere":
                self._clockworks += [
                    Clockwork(service.name, p.name, p.seconds, partial(p.work, settings, resources, handlers))
                    for p in service.periodic
                ]
        name = self._services[0].name if len(self._services) == 1 else "llegada"
        return ProcessApp(name, self._health, lambda: self._watchdog.content, app)

    async def _depth(self, queues: Sequence[str]) -> int | None:
        url = self.settings.amqp_url
        return None if url is None else await depth_over_amqp(url.get_secret_value(), queues)

    def _keep_dead_letters(self, inside: Sequence[Service[Any, Any]], schemas: dict[str, str]) -> None:
        for service in inside:
            if service.keeps_dead_letters:
                database = self._databases[service.name]
                self._keeper = Keeper(database)
                if service in self._services:
                    self._replayer = Replayer(database, schemas)

    def _role(self, service: Service[Any, Any]) -> str:
        """A worker acts as itself. Who keeps dead letters looks into others' inboxes; who works for all needs all."""
        if not self.settings.queue_enabled:
            return EMBEDDED_ROLE
        return SYSTEM_ROLE if service.keeps_dead_letters else own_role(service.package)

    def _engine(self, package: str, role: str, *, pooled: bool = True) -> AsyncEngine:
        url = self.settings.database_url.get_secret_value()
        made = engine(url, package, role=role, pool_size=self.settings.database_pool, pooled=pooled)
        self._stack.push_async_callback(made.dispose)
        return made

    async def _messaging(self) -> None:
        """Relay and consumers, as soon as the broker has what they need. Without the queue: only what is left over."""
        assert self.settings.amqp_url is not None  # the caller has looked
        url = self.settings.amqp_url.get_secret_value()
        keeps = any(service.keeps_dead_letters for service in self._services)
        needed = discovery.installed().values() if keeps else self._services
        if not await self._prepared(url, topology({service.name: service.subscriptions for service in needed})):
            return
        await _warn_of_topology(self.settings)
        for service in self._services:
            concurrency = self.settings.queue_concurrency
            consumers, dead_letters = self._consumers[service.name], self._dead_letters(service)
            binding = Binding(url, service.name, consumers, concurrency, dead_letters)
            self._bindings.append(binding)
            metrics.CONSUMING.labels(service=service.name).set_function(partial(getattr, binding, "connected"))
            if self.settings.queue_enabled:
                login = Database(self._engine(service.package, _LOGIN, pooled=False), service.package)
                self._relays.append(Relay(service.name, login, Publisher(url, f"{service.name} relay")))
        async with asyncio.TaskGroup() as tasks:
            for relay in self._relays:
                tasks.create_task(vital(relay.run()))
            for binding in self._bindings:
                tasks.create_task(vital(binding.start()))
        log.info("messaging_ended")

    def _dead_letters(self, service: Service[Any, Any]) -> DeadLetterQueues | None:
        if not service.keeps_dead_letters or self._keeper is None:
            return None
        return DeadLetterQueues([*map(dead_letter_queue, discovery.installed()), UNROUTABLE], self._keeper)

    async def _prepared(self, url: str, wanted: Topology) -> bool:
        """Wait until every exchange and queue is there; False when the process stops before."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(20), await aio_pika.connect(url, timeout=5) as connection:
                    await check(await connection.channel(), wanted)
            except (*BROKER_AWAY, TopologyError) as error:
                log.warning("broker_not_ready", error=str(error) or type(error).__name__)
                await _pause(self._stopping, 1.0)
            else:
                return True
        return False

    async def _health(self) -> Health:
        checks = {"database": await self._database_answers()}
        if self._consumes:
            now = time.monotonic()
            checks["consumers"] = bool(self._bindings) and all(b.connected for b in self._bindings)
            checks["relay"] = bool(self._relays) and all(now - r.last_seen < _RELAY_SILENT for r in self._relays)
        holding = any(consumer.holding for consumers in self._consumers.values() for consumer in consumers)
        checks["not_held_up"] = not holding
        # Requests are accepted while the broker is away: an HTTP service needs the database alone.
        serves = any(service.app is not None for service in self._services)
        return Health(checks["database"] if serves else all(checks.values()), checks)

    @property
    def _consumes(self) -> bool:
        settings = self.settings
        return settings.amqp_url is not None and settings.queue_enabled and settings.periodic_work != "only"

    async def _database_answers(self) -> bool:
        return all([await database.ping() for database in self._databases.values()])

    async def _end(self, server: "_Server", messaging: "asyncio.Task[None] | None") -> None:
        await self._stopping.wait()
        log.info("drain")
        seconds = self.settings.drain_seconds
        server.should_exit = True
        drains = [binding.drain(seconds) for binding in self._bindings]
        if self._inline is not None:
            drains.append(self._inline.drain(seconds))
        await asyncio.gather(*drains)
        self._watchdog.stop()
        if self._replayer is not None:
            self._replayer.stop()
        for relay in self._relays:
            relay.stop()
        if messaging is not None:
            await asyncio.wait([messaging], timeout=5)
            messaging.cancel()
        log.info("drained")


async def vital(work: Awaitable[None]) -> None:
    """A task without which the process is nothing: a bug in it ends the process, as kill -9 would.

    To unwind first would let consumers go on with clients that are closed, and waits for tasks that do not hear.
    """
    try:
        await work
    except Exception:
        log.critical("process_died", exc_info=True)
        sys.stdout.flush()
        os._exit(1)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the process."""

    def __init__(self, app: ProcessApp, settings: RuntimeSettings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(settings.drain_seconds),
            server_header=False,
            proxy_headers=False,  # nothing here asks for the client's address
            timeout_keep_alive=75,  # longer than gateways keep theirs: they close first, and never meet a closed one
        )
        super().__init__(config)

    @contextmanager
    def capture_signals(self) -> Any:
        yield


async def check_topology(settings: RuntimeSettings, services: Iterable[Service[Any, Any]]) -> list[Finding]:
    """What is wrong with the broker for these services. Needs both addresses; raises httpx.HTTPError."""
    assert settings.rabbitmq_management_url is not None
    assert settings.amqp_url is not None
    wanted = topology({service.name: service.subscriptions for service in services})
    url, amqp_url = settings.rabbitmq_management_url.get_secret_value(), settings.amqp_url.get_secret_value()
    return findings(wanted, await snapshot(url, amqp_url), list(discovery.installed()))


async def _warn_of_topology(settings: RuntimeSettings) -> None:
    """At the start, where the management API can be asked: a warning for each finding, never a reason not to start."""
    if settings.rabbitmq_management_url is None:
        return
    try:
        found = await check_topology(settings, discovery.installed().values())
    except httpx.HTTPError as error:
        log.warning("topology_not_checked", error=type(error).__name__)
        return
    for finding in found:
        log.warning("topology", fault=finding.fault, object=finding.object, what=finding.what, remedy=finding.remedy)


def _held(consumers: Sequence[Consumer[Any]]) -> int:
    return sum(consumer.holding for consumer in consumers)


async def _pause(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _own_settings(service: Service[Any, Any]) -> Any:
    try:
        return service.settings()
    except ValidationError as error:
        prefix = getattr(service.settings, "model_config", {}).get("env_prefix", "")
        raise explain(service.name, error, prefix) from error


def runtime_settings(*, broker: bool = True) -> RuntimeSettings:
    """From the environment; SettingsError names every mistake at once. `broker`: whether this command needs one."""
    try:
        settings = RuntimeSettings()
    except ValidationError as error:
        raise explain("llegada", error) from error
    if broker and settings.queue_enabled and settings.amqp_url is None:
        raise SettingsError(
            "AMQP_URL is needed where QUEUE_ENABLED is true; QUEUE_ENABLED=false works without a broker"
        )
    return settings


def run(names: Sequence[str], load: Callable[[str], Service[Any, Any]] = discovery.find) -> None:
    """Run services by name in this process, until it is told to stop."""
    services = [load(name) for name in names]
    settings = runtime_settings()
    configure(names[0] if len(names) == 1 else "llegada", settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody looks at

    async def main() -> None:
        await Process(settings, services).run()

    with (
        _traced(settings, names[0] if len(names) == 1 else "llegada"),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(main())


@contextmanager
def _traced(settings: RuntimeSettings, name: str) -> Iterator[None]:
    """Where an endpoint is configured, and only there, OpenTelemetry's SDK is imported."""
    if settings.otel_exporter_otlp_endpoint is None:
        yield
        return
    tracer = importlib.import_module("llegada.runtime.otel").begin(name)
    try:
        yield
    finally:
        tracer.end()

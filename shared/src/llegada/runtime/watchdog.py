"""Notices a process that has silently stopped: it looks well, and settles nothing although its queues hold messages.

Only what is certain counts. A depth that cannot be read, a database that does not answer (restarting would not help),
a delivery that waits for the database, and an effect under a live lease all mean: alive.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import aio_pika
import structlog

from llegada.messaging.broker import Binding
from llegada.messaging.publisher import BROKER_AWAY
from llegada.messaging.relay import Relay

log = structlog.get_logger()

_LOOK = 10.0  # seconds
SILENT = 60.0
"""Seconds without a settlement after which a process is looked at closely."""

Depth = Callable[[Sequence[str]], Awaitable[int | None]]


async def depth_over_amqp(url: str, queues: Sequence[str]) -> int | None:
    """How many messages are ready in these queues; None where that cannot be told. A connection of its own: the one
    that consumes may be the one that hangs.
    """
    try:
        async with await aio_pika.connect(url, timeout=5) as connection:
            channel = await connection.channel()
            results = [(await channel.declare_queue(name, passive=True)).declaration_result for name in queues]
    except BROKER_AWAY:
        return None
    return sum(result.message_count or 0 for result in results)


class Watchdog:
    """`database_answers` and `depth` are asked only after `silent` seconds without a settlement.

    `content` is what the last look said: a probe is answered at once, whatever hangs.
    """

    def __init__(
        self,
        bindings: Sequence[Binding],
        relays: Sequence[Relay],
        database_answers: Callable[[], Awaitable[bool]],
        depth: Depth,
        silent: float = SILENT,
    ) -> None:
        self._bindings = bindings
        self._relays = relays
        self._database_answers = database_answers
        self._depth = depth
        self._silent = silent
        self._empty_at: dict[int, float] = {}
        self._stopping = asyncio.Event()
        self.content = True

    async def run(self) -> None:
        """Look every few seconds, until `stop`."""
        while not self._stopping.is_set():
            self.content = await self.alive()
            try:
                async with asyncio.timeout(_LOOK):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._stopping.set()

    async def alive(self) -> bool:
        """False only where a restart is the remedy."""
        now = time.monotonic()
        relays = [relay for relay in self._relays if now - relay.last_seen > self._silent]
        bindings = [binding for binding in self._bindings if self._suspicious(binding, now)]
        if not (relays or bindings) or not await self._database_answers():
            return True
        stuck = [f"relay of {relay.service}" for relay in relays]
        for binding in bindings:
            waiting = binding.in_flight or await self._depth(binding.queues)
            if waiting:
                stuck.append(f"consumers of {binding.service}, {waiting} messages waiting")
            elif waiting == 0:
                self._empty_at[id(binding)] = now
        if stuck:
            log.error("silent_stop", stuck=stuck, silent_seconds=self._silent)
        return not stuck

    def _suspicious(self, binding: Binding, now: float) -> bool:
        quiet_since = max(binding.last_settled, self._empty_at.get(id(binding), 0.0))
        return binding.started and not binding.excused(now) and now - quiet_since > self._silent

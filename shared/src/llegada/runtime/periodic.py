"""Work that the clock starts, beside what messages and requests start."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import structlog

from llegada.messaging.transaction import database_away
from llegada.runtime import metrics

log = structlog.get_logger()


@dataclass(frozen=True)
class Clockwork:
    """One piece of periodic work of a service. `work` raises what is a bug; a database that is away is waited for,
    and a statement that took too long, or met another in a deadlock, is tried again.
    """

    service: str
    name: str
    seconds: float
    work: Callable[[], Awaitable[None]]

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`; what was begun is finished."""
        while not stopping.is_set():
            try:
                await self.work()
                metrics.PERIODIC.labels(service=self.service, work=self.name).set_to_current_time()
            except (asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError) as error:
                log.warning("statement_ended", work=self.name, error=str(error))
            except Exception as error:
                if not database_away(error):
                    raise
                log.warning("database_away", work=self.name, error=type(error).__name__)
            try:
                async with asyncio.timeout(self.seconds):
                    await stopping.wait()
            except TimeoutError:
                continue

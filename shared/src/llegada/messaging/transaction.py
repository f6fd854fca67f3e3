"""The database as the messaging paths use it: SQLAlchemy's pool, and its asyncpg connection where round trips count.

Measured (docs/decisions/0003): the same three statements cost 2.2 times the CPU through SQLAlchemy Core. So statements
on hot paths are SQL text on the driver's connection; everything else uses `Database.engine` and Core.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar, cast

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
log = structlog.get_logger()

_HOLD_FIRST, _HOLD_LAST = 0.1, 5.0  # seconds between tries while the database is away

Transaction: TypeAlias = asyncpg.Connection
"""An asyncpg connection inside a transaction; parameters are `$1, $2 …`; jsonb is written as text and
read as what it holds (the codec that SQLAlchemy sets)."""


class Database:
    """One service's schema: `search_path` is set by the engine."""

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        self.engine = engine
        self.schema = schema

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Transaction]:
        """A pooled connection in autocommit; a dead one is dropped from the pool, never handed out again.

        Nor is one on which something was cut off by a cancellation: it may be in the middle of a transaction, and what
        the next one commits by itself would not be.
        """
        async with self.engine.connect() as pooled:
            raw = await pooled.get_raw_connection()
            connection = cast("Transaction", raw.driver_connection)
            if connection.is_closed():
                await pooled.invalidate()
                raw = await pooled.get_raw_connection()
                connection = cast("Transaction", raw.driver_connection)
            try:
                yield connection
            except BaseException as error:
                if database_away(error) or not isinstance(error, Exception):
                    await pooled.invalidate()
                raise
            finally:
                if connection.is_closed() and not pooled.invalidated:
                    await pooled.invalidate()

    @asynccontextmanager
    async def transaction(self, settings: str | None = None) -> AsyncGenerator[Transaction]:
        """A transaction; `settings` is SQL that begins it (`set local …`), in the same round trip."""
        async with self.connection() as connection:
            try:
                await connection.execute(f"begin; {settings or ''}")
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            await connection.execute("commit")

    async def fetchrow(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """One statement, committed by itself."""
        async with self.connection() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def ping(self, seconds: float = 1.0) -> bool:
        """Whether the database answers within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self.fetchrow("select 1")
        except Exception as error:
            if database_away(error):
                return False
            raise
        return True


async def outlasting(operation: Callable[[], Awaitable[T]], waiting: Callable[[int], None] = lambda _: None) -> T:
    """Run a database operation, again and again while the database is away.

    `waiting` is told 1 when a pause begins, and -1 when it ends.
    """
    delay = _HOLD_FIRST
    while True:
        try:
            return await operation()
        except Exception as error:
            if not database_away(error):
                raise
            log.warning("database_away", error=repr(error)[:200], next_try_seconds=delay)
            waiting(1)
            try:
                await asyncio.sleep(delay)
            finally:
                waiting(-1)
            delay = min(delay * 2, _HOLD_LAST)


def containing(text: str | None) -> str | None:
    """The pattern for `ilike` that finds `text` anywhere, taken literally; None for None."""
    if text is None:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


_AWAY = (
    OSError,  # includes ConnectionError and TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # asyncpg's own state, after a server went away in the middle of an answer
    asyncpg.ReadOnlySQLTransactionError,  # a failover in progress
    PoolTimeout,
)


def not_storable(error: BaseException) -> bool:
    """Whether a text had the NUL character, which PostgreSQL's text and jsonb cannot hold (22021, 22P05)."""
    return isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError)


def database_away(error: BaseException) -> bool:
    """Whether `error` says that the database cannot be reached (as opposed to: it refused this statement)."""
    if isinstance(error, DBAPIError) and error.orig is not None:  # SQLAlchemy wraps what asyncpg said, twice
        cause = error.orig.__cause__ or error.__cause__
        return error.connection_invalidated or (cause is not None and database_away(cause))
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)
    return isinstance(error, _AWAY)

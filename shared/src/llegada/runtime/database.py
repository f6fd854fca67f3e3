"""Engines: one per service and role, each with the service's schema as its search path."""

from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

SYSTEM_ROLE = "llegada_system"
"""The service that keeps dead letters: every organization's rows in its own schema, and of every other schema what it
shows and judges replays by (`migrate.OVERSEEN`), to read.
"""
EMBEDDED_ROLE = "llegada_embedded"
"""QUEUE_ENABLED=false, one process that does everybody's work: everything in every schema. Given on purpose only."""
APP_ROLE = "llegada_app"
"""Requests of people: row-level security holds for it."""


def own_role(package: str) -> str:
    """The role of one service: everything in its own schema, nothing in another's. May be its login's name too."""
    return f"llegada_{package}"


def driver_url(url: str, driver: str) -> URL:
    """`postgresql://…` with the wanted driver. `sslmode` means the same to both; asyncpg calls it `ssl`."""
    made = make_url(url).set(drivername=f"postgresql+{driver}")
    mode = made.query.get("sslmode")
    if driver == "asyncpg" and mode is not None:
        made = made.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return made


def engine(url: str, schema: str, *, role: str, pool_size: int = 10, pooled: bool = True) -> AsyncEngine:
    """`role` is set at connection time, so that one login can act as either; `pooled=False` for a connection of one's
    own (the relay's).
    """
    settings = {"search_path": schema, "role": role, "application_name": schema, "statement_timeout": "30s"}
    connect_args = {"server_settings": settings, "timeout": 3, "command_timeout": 35}
    where = driver_url(url, "asyncpg")
    if not pooled:
        return create_async_engine(where, connect_args=connect_args, poolclass=NullPool)
    return create_async_engine(
        where, connect_args=connect_args, pool_size=pool_size, max_overflow=0, pool_timeout=10, pool_recycle=1800
    )

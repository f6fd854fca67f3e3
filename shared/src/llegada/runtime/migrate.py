"""Brings one service's schema to the newest revision: the tables of `messaging`, then its own."""

from importlib.util import find_spec

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from llegada.runtime.database import APP_ROLE, SYSTEM_ROLE, driver_url


def migrate(package: str, url: str) -> None:
    """Safe to run again, and side by side for several services. Needs a login that owns the schemas."""
    engine = create_engine(driver_url(url, "psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('llegada.migrate'))"))
        _prepare(connection, package)
    config = Config()
    config.set_main_option("script_location", "llegada:runtime/alembic")
    config.set_main_option("path_separator", "space")
    config.set_main_option("version_locations", _locations(package))
    config.attributes.update(schema=package, url=url)
    command.upgrade(config, "heads")
    with engine.begin() as connection:
        _grant(connection, package)


def _locations(package: str) -> str:
    has_own = find_spec(package) is not None and find_spec(f"{package}.migrations") is not None
    return f"llegada:messaging/migrations {package}:migrations" if has_own else "llegada:messaging/migrations"


def _prepare(connection: Connection, package: str) -> None:
    connection.execute(text(f"create schema if not exists {package}"))
    for role in (APP_ROLE, SYSTEM_ROLE):
        known = connection.scalar(text("select 1 from pg_roles where rolname = :role"), {"role": role})
        if not known:
            # Roles belong to the whole cluster: another database may make the same one at the same time.
            connection.execute(
                text(f"""do $$ begin create role {role} nologin;
                         exception when duplicate_object or unique_violation then null; end $$""")
            )
        superuser = connection.scalar(text("select rolsuper from pg_roles where rolname = current_user"))
        if not superuser:
            connection.execute(text(f"grant {role} to current_user"))


def _grant(connection: Connection, package: str) -> None:
    """The system role works all tables; the app role gets the schema, and what the service's migrations grant."""
    connection.execute(text("set local lock_timeout to '4s'"))
    connection.execute(text(f"grant usage on schema {package} to {APP_ROLE}, {SYSTEM_ROLE}"))
    connection.execute(text(f"grant select, insert, update, delete on all tables in schema {package} to {SYSTEM_ROLE}"))
    connection.execute(text(f"grant usage on all sequences in schema {package} to {SYSTEM_ROLE}"))

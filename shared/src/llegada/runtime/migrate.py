"""Brings one service's schema to the newest revision: the tables of `messaging`, then its own; or waits for that."""

import time
from collections.abc import Sequence
from importlib.util import find_spec

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from llegada.runtime.database import APP_ROLE, EMBEDDED_ROLE, SYSTEM_ROLE, driver_url, own_role

OVERSEEN = {
    "inbox": "subscriber, message_id, pass, outcome, next_try_at, settled_at",
    "outbox": "message_id, exchange, created_at",
}
"""What the service that keeps dead letters may read of every schema, column by column: what became of messages, and how
long others wait. No body of a message, no business table.
"""


class RightsMissing(Exception):  # noqa: N818 - says what is the case
    """An administrator must give a role; the message holds the statement."""


class SchemaBehind(Exception):  # noqa: N818 - says what is the case
    """The release's migrations have not run, or the database does not answer."""


def migrate(package: str, url: str, *, oversees: bool = False) -> bool:
    """Safe to run again, and side by side for several services. Needs a login that owns the schemas.

    False where the schema holds revisions of a later release, as after a rollback: old code runs on it, so it stays as
    it is, and only roles and grants are seen to.

    `oversees`: the service that keeps dead letters and answers people; its role gets both shared roles.
    """
    engine = create_engine(driver_url(url, "psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('llegada.migrate'))"))
        _prepare(connection, package)
        if oversees:
            for role in (APP_ROLE, SYSTEM_ROLE):
                _join(connection, role, own_role(package))
        _join(connection, SYSTEM_ROLE, EMBEDDED_ROLE)
    config = _config(package)
    config.attributes.update(schema=package, url=url)
    with engine.connect() as connection:
        migrated = connection.scalar(text("select to_regclass(:table)"), {"table": f"{package}.alembic_version"})
        newer = bool(migrated) and bool(_unknown(_revisions(connection, package), config))
    if not newer:
        command.upgrade(config, "heads")
    with engine.begin() as connection:
        _grant(connection, package, oversees=oversees)
    return not newer


def embed(package: str, url: str) -> None:
    """Let the login of this service act for all, as QUEUE_ENABLED=false needs it. Raises RightsMissing."""
    login = own_role(package)
    engine = create_engine(driver_url(url, "psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        for role, member in ((EMBEDDED_ROLE, login), (SYSTEM_ROLE, EMBEDDED_ROLE)):
            _join(connection, role, member)
            if not _is_member(connection, role, member):
                raise RightsMissing(f"this login may not give it; as an administrator: grant {role} to {member};")


def embedded(package: str, url: str) -> bool:
    """Whether the login of this service may act for all."""
    engine = create_engine(driver_url(url, "psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        return _is_member(connection, EMBEDDED_ROLE, own_role(package))


def wait(packages: Sequence[str], url: str, seconds: float) -> None:
    """Until each schema has all that this release's code needs. A newer one is fine: old code runs on it.

    Raises SchemaBehind after `seconds`, and says what is missing.
    """
    deadline = time.monotonic() + seconds
    while True:
        missing = {package: behind(package, url) for package in packages}
        told = [f"{package}: {reason}" for package, reason in missing.items() if reason is not None]
        if not told:
            return
        if time.monotonic() > deadline:
            raise SchemaBehind(f"run `llegada migrate`; {'; '.join(told)}")
        time.sleep(1)


def behind(package: str, url: str) -> str | None:
    """What this release's code lacks in the schema; None where nothing."""
    config = _config(package)
    engine = create_engine(driver_url(url, "psycopg"), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            found = _revisions(connection, package)
    except OperationalError as error:
        return f"the database does not answer ({type(error.orig).__name__})"
    except ProgrammingError as error:
        return f"it has never been migrated, or may not be read ({type(error.orig).__name__})"
    heads = ScriptDirectory.from_config(config).get_heads()
    missing = set() if _unknown(found, config) else set(heads) - found
    return f"missing {', '.join(sorted(missing))}" if missing else None


def _revisions(connection: Connection, package: str) -> set[str]:
    return set(connection.scalars(text(f"select version_num from {package}.alembic_version")))


def _unknown(found: set[str], config: Config) -> set[str]:
    """Those of a later release."""
    return found - {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}


def _config(package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", "llegada:runtime/alembic")
    config.set_main_option("path_separator", "space")
    config.set_main_option("version_locations", _locations(package))
    return config


def _locations(package: str) -> str:
    has_own = find_spec(package) is not None and find_spec(f"{package}.migrations") is not None
    return f"llegada:messaging/migrations {package}:migrations" if has_own else "llegada:messaging/migrations"


def _prepare(connection: Connection, package: str) -> None:
    connection.execute(text(f"create schema if not exists {package}"))
    for role in (APP_ROLE, SYSTEM_ROLE, EMBEDDED_ROLE, own_role(package)):
        known = connection.scalar(text("select 1 from pg_roles where rolname = :role"), {"role": role})
        if not known:
            # Roles belong to the whole cluster: another database may make the same one at the same time.
            connection.execute(
                text(f"""do $$ begin create role {role} nologin;
                         exception when duplicate_object or unique_violation then null; end $$""")
            )
        _join(connection, role, "current_user")


def _is_member(connection: Connection, role: str, member: str) -> bool:
    named = "current_user" if member == "current_user" else f"'{member}'"
    return bool(connection.scalar(text(f"select pg_has_role({named}, :role, 'member')"), {"role": role}))


def _join(connection: Connection, role: str, member: str) -> None:
    """One login for everything must be a member. Where an administrator makes the roles and gives each service a login
    of its own, the migrating one may not be allowed to do this, and need not: so a refusal is not an error here.
    """
    if _is_member(connection, role, member):
        return
    connection.execute(
        text(f"""do $$ begin grant {role} to {member};
                 exception when insufficient_privilege then null; end $$""")
    )


def _grant(connection: Connection, package: str, *, oversees: bool) -> None:
    """The service's own role, and the one for everything, work all its tables. So does the system role in the schema of
    the service that oversees, whose row-level security knows it; elsewhere it reads OVERSEEN. The app role gets that
    schema, and what migrations grant in it. Nobody else gets anything: a worker's login reads no other schema.
    """
    own = own_role(package)
    shared = f", {APP_ROLE}" if oversees else ""
    connection.execute(text("set local lock_timeout to '4s'"))
    connection.execute(text(f"grant usage on schema {package} to {SYSTEM_ROLE}, {EMBEDDED_ROLE}, {own}{shared}"))
    for role in (own, EMBEDDED_ROLE, *((SYSTEM_ROLE,) if oversees else ())):
        connection.execute(text(f"grant select, insert, update, delete on all tables in schema {package} to {role}"))
        connection.execute(text(f"grant usage on all sequences in schema {package} to {role}"))
    if not oversees:
        connection.execute(text(f"revoke all on all tables in schema {package} from {SYSTEM_ROLE}"))
        connection.execute(text(f"revoke all on all sequences in schema {package} from {SYSTEM_ROLE}"))
        for table, columns in OVERSEEN.items():
            connection.execute(text(f"grant select ({columns}) on {package}.{table} to {SYSTEM_ROLE}"))

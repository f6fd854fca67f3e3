"""Every service under its own database login and broker user, as in production: no test passes by having too many
rights. Only where both servers are ours.
"""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from llegada.runtime.database import own_role
from llegada.runtime.discovery import installed
from llegada.runtime.rights_cli import installed_rights
from llegada_dev.infrastructure import Infrastructure


def passwords(folder: Path) -> Path:
    """A folder with one file per broker user; made once, readable by its owner alone."""
    target = folder / "passwords"
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for one in installed_rights():
        path = target / one.user
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(24))
    return target


def logins(database_url: str, folder: Path, services: Iterable[str]) -> None:
    """Lets each service's role log in. The roles are there: migrations made them."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in services:
            role, password = sql.Identifier(own_role(name.replace("-", "_"))), (folder / name).read_text()
            connection.execute(sql.SQL("alter role {} login password {}").format(role, sql.Literal(password)))


def addresses(found: Infrastructure, folder: Path) -> dict[str, Mapping[str, str]]:
    """By service: its own DATABASE_URL and AMQP_URL; the management API for the one that shows the queues."""
    made: dict[str, Mapping[str, str]] = {}
    for name, service in installed().items():
        password = (folder / name).read_text()
        login = own_role(service.package)
        own = {"DATABASE_URL": _as(found.database_url, login, password)}
        if found.amqp is not None:
            own["AMQP_URL"] = _as(found.amqp, name, password)
        if service.keeps_dead_letters and found.management is not None:
            own["RABBITMQ_MANAGEMENT_URL"] = _as(found.management, name, password)
        made[name] = own
    return made


def _as(url: str, user: str, password: str) -> str:
    return make_url(url).set(username=user, password=password).render_as_string(hide_password=False)

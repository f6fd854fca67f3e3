"""The only env.py: messaging's branch, then the service's own, in the service's schema."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from llegada.runtime.database import driver_url

schema = context.config.attributes["schema"]
url = driver_url(context.config.attributes["url"], "psycopg")
with create_engine(url, poolclass=NullPool).begin() as connection:
    connection.execute(text(f"set local search_path to {schema}"))
    connection.execute(text("set local lock_timeout to '4s'"))
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:lock))"), {"lock": f"llegada.migrate.{schema}"})
    context.configure(connection=connection, version_table_schema=schema)
    with context.begin_transaction():
        context.run_migrations()

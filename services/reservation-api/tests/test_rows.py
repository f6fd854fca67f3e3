"""What the app's role may read belongs to one organization: the database says so for every table, also a new one."""

from llegada.messaging.transaction import Database
from llegada.runtime.database import APP_ROLE
from llegada.testing.plugin import EngineAs

_READABLE = """
select c.relname, c.relrowsecurity and c.relforcerowsecurity as forced,
       exists (select from pg_policy p where p.polrelid = c.oid) as governed
from pg_class c
where c.relnamespace = 'reservation_api'::regnamespace and c.relkind = 'r' and has_table_privilege($1, c.oid, 'select')
  and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organization_id')
"""


async def test_every_table_that_the_app_may_read_has_forced_row_level_security(database: Database) -> None:
    async with database.connection() as connection:
        tables = await connection.fetch(_READABLE, APP_ROLE)
    assert {"reservations", "statements", "documents", "tasks", "lifecycles", "work_times", "users"} <= {
        table["relname"] for table in tables
    }
    assert [table["relname"] for table in tables if not (table["forced"] and table["governed"])] == []


async def test_rows_of_another_organization_do_not_exist_for_the_app(database: Database, engine_as: EngineAs) -> None:
    employment = '{"position": "x", "starts_on": "2026-01-01"}'
    async with database.transaction() as tx:
        await tx.execute("""
            insert into organizations (organization_id, name, time_zone, language, channels)
            values (1, 'A', 'America/Bogota', 'es', '{}')
        """)
        await tx.execute(
            "insert into users (organization_id, number, name, email, person, language, employment, created_by)"
            " values (1, 1, 'Ana', 'a@test', 'a@test', 'es', $1, 'x')",
            employment,
        )
    app = Database(engine_as("reservation_api", APP_ROLE), "reservation_api")
    for organization, rows in ((1, 1), (2, 0)):
        async with app.transaction(f"set local llegada.organization = '{organization}'") as tx:
            assert await tx.fetchval("select count(*) from users") == rows

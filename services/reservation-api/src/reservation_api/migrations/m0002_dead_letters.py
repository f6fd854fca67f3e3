"""Row-level security for dead letters: an admin sees those of the own organization; operators use the system role."""

from alembic import op

revision = "reservation_api_0002"
down_revision = "reservation_api_0001"
branch_labels = None
depends_on = "messaging_0002"


def upgrade() -> None:
    for table in ("dead_letters", "replays", "dead_letter_log"):
        op.execute(f"""
            alter table {table} enable row level security;
            alter table {table} force row level security;
            create policy own_organization on {table} to llegada_app
                using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
            create policy everything on {table} to llegada_system using (true);
        """)
    op.execute("""
        grant select, update on dead_letters, replays to llegada_app;
        grant insert on replays to llegada_app;
        grant select, insert on dead_letter_log to llegada_app;
        grant usage on all sequences in schema reservation_api to llegada_app;
    """)

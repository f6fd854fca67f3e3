"""The evening's invitations: one row per organization and day decides who does the run."""

from alembic import op

revision = "reservation_api_0004"
down_revision = "reservation_api_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table schedule_runs (
            organization_id bigint not null,
            day             date not null,
            began_at        timestamptz not null default now(),
            invited         integer not null default 0,
            left_out        integer not null default 0,
            primary key (organization_id, day)
        );
        alter table schedule_runs enable row level security;
        alter table schedule_runs force row level security;
        create policy own_organization on schedule_runs to llegada_app
            using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
        create policy everything on schedule_runs to llegada_system using (true);
        grant select on schedule_runs to llegada_app;
    """)

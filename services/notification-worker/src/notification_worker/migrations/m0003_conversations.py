"""Answers to guests: the organization's rules, and who wants nothing that is not urgent."""

from alembic import op

revision = "notification_worker_0003"
down_revision = "notification_worker_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table wordings add column replies jsonb not null default '[]';
        alter table windows add column opted_out boolean not null default false;
        alter table statuses add column noted_at timestamptz not null default now();
        create index statuses_by_age on statuses (noted_at);
    """)

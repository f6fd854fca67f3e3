"""When an organization's guests are not disturbed by what is not urgent."""

from alembic import op

revision = "notification_worker_0004"
down_revision = "notification_worker_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table wordings add column quiet_hours jsonb, add column time_zone text not null default 'America/Bogota';
        comment on column wordings.quiet_hours is 'start and end, local to time_zone; null: none';
    """)

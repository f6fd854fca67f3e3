"""The order in which timeline entries became visible, so that a stream misses none."""

from alembic import op

revision = "reservation_api_0006"
down_revision = "reservation_api_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table timeline add column xid xid8 not null default pg_current_xact_id();
        create index timeline_by_visibility on timeline (xid, id);
        comment on column timeline.xid is 'Streams read what is older than every running transaction';
    """)

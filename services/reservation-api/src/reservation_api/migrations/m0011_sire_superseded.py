"""Rows for SIRE that corrected documents have replaced."""

from alembic import op

revision = "reservation_api_0011"
down_revision = "reservation_api_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create index sire_rows_of_reservation on sire_rows (organization_id, reservation_id, movement);
        comment on column sire_rows.state is 'waiting, in_file, accepted, rejected, uncertain, superseded';
    """)

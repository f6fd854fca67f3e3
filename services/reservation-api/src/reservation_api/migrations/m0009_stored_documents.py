"""Documents may lie in an S3-compatible store; then the row has the object's key instead of the bytes."""

from alembic import op

revision = "reservation_api_0009"
down_revision = "reservation_api_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table documents add column stored_at text;
        comment on column documents.stored_at is 'Key of the object in the store; null: the bytes are in content';
    """)

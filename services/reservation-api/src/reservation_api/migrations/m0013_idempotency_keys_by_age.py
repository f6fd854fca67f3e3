"""Idempotency keys by their age, so that old ones are found to be deleted."""

from alembic import op

revision = "reservation_api_0013"
down_revision = "reservation_api_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create index idempotency_keys_by_age on idempotency_keys (created_at)")

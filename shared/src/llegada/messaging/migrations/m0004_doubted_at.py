"""When an attempt was made of which nobody knows what it did: from then on its grace time runs."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "messaging_0004", "messaging_0003", None, None


def upgrade() -> None:
    op.execute("alter table effects add column doubted_at timestamptz")

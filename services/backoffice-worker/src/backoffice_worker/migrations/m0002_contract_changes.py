"""How often an employee's contract was changed: what arrives late or twice changes nothing."""

from alembic import op

revision = "backoffice_worker_0002"
down_revision = "backoffice_worker_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table lifecycles add column contract integer not null default 0")

"""The welcomes."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "example_worker_0001", None, ("example_worker",), "messaging_0001"


def upgrade() -> None:
    op.execute("create table welcomes (reservation_id bigint primary key, words text not null)")

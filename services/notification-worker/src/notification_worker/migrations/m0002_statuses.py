"""What WhatsApp told about our messages, by the key of the attempt."""

from alembic import op

revision = "notification_worker_0002"
down_revision = "notification_worker_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table statuses (
            own_key             text primary key,
            provider_message_id text not null,
            status              text not null,
            rank                smallint not null,
            at                  timestamptz not null,
            error_code          text
        );
        comment on column statuses.rank is 'Statuses only go up: sent 1, failed 2, delivered 3, read 4';
    """)

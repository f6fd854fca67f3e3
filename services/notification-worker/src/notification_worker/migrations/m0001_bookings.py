"""Facts and messages per reservation, organizations' wordings, conversation windows."""

from alembic import op

revision = "notification_worker_0001"
down_revision = None
branch_labels = ("notification_worker",)
depends_on = "messaging_0001"


def upgrade() -> None:
    op.execute("""
        create table bookings (
            reservation_id  bigint primary key,
            organization_id bigint not null,
            document        jsonb not null default '{}'
        ) with (fillfactor = 70);
        comment on table bookings is 'Facts and messages of one reservation: the row that a fact locks';

        create table wordings (
            organization_id bigint primary key,
            revision        integer not null,
            document        jsonb not null
        );
        comment on table wordings is 'An organization''s own words: message kind, then language';

        create table windows (
            organization_id bigint not null,
            phone           text not null,
            last_inbound_at timestamptz not null,
            primary key (organization_id, phone)
        );
        comment on table windows is 'When a guest last wrote: text is allowed for 24 hours after that';
    """)

"""What guests write by WhatsApp."""

from alembic import op

revision = "reservation_api_0005"
down_revision = "reservation_api_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table guest_messages (
            id                  bigint generated always as identity primary key,
            organization_id     bigint not null,
            provider_message_id text not null,
            reservation_id      bigint,
            phone               text not null,
            name                text not null,
            body                text,
            media               text,
            at                  timestamptz not null,
            state               text not null default 'received',
            reply               text,
            updated_at          timestamptz not null default now(),
            unique (organization_id, provider_message_id)
        );
        create index guest_messages_by_state on guest_messages (organization_id, state, at desc);
        create index reservations_by_phone on reservations (organization_id, guest_phone);
        alter table guest_messages enable row level security;
        alter table guest_messages force row level security;
        create policy own_organization on guest_messages to llegada_app
            using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
        create policy everything on guest_messages to llegada_system using (true);
        grant select, update on guest_messages to llegada_app;
    """)

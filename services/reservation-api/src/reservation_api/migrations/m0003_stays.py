"""A stay from check-in to check-out: its settings, door codes, and who paid."""

from alembic import op

revision = "reservation_api_0003"
down_revision = "reservation_api_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table organizations add column stay jsonb not null default '{}';
        alter table reservations
            add column contact_version integer not null default 1,
            add column payment_link_expires_at timestamptz,
            add column payment_status text not null default 'pending',
            add column payment_revision integer not null default 0,
            add column paid_amount bigint not null default 0,
            add column door_codes jsonb,
            add column door_codes_intent integer not null default 0,
            add column checked_in_at timestamptz,
            add column checked_out_at timestamptz,
            add column cancelled_at timestamptz,
            add column cancel_reason text,
            add column invited_at timestamptz,
            add column sire_registered_at timestamptz;
        comment on column reservations.door_codes is 'What opens the doors, for staff; null once it was revoked';
    """)

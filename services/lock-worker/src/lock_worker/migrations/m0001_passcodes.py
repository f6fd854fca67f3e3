"""Locks of organizations, tokens, and every code that was ever meant for a stay."""

from alembic import op

revision = "lock_worker_0001"
down_revision = None
branch_labels = ("lock_worker",)
depends_on = "messaging_0001"


def upgrade() -> None:
    op.execute("""
        create table organizations (
            organization_id bigint primary key,
            revision        integer not null,
            locks           jsonb not null
        );

        create table tokens (
            organization_id bigint primary key,
            access_token    text not null,
            refresh_token   text not null,
            expires_at      timestamptz not null
        );

        create table leases (
            key   text primary key,
            until timestamptz not null
        );
        comment on table leases is 'Who talks to a gateway, or renews a token: one at a time, over all replicas';

        create table stays (
            reservation_id  bigint primary key,
            organization_id bigint not null,
            newest_intent   integer not null default 0,
            ended           text
        );

        create table passcodes (
            reservation_id  bigint not null,
            intent          integer not null,
            lock_id         bigint not null,
            organization_id bigint not null,
            lock_name       text not null,
            gateway         text,
            name            text not null,
            code            text,
            passcode_id     bigint,
            starts_at       timestamptz not null,
            ends_at         timestamptz not null,
            state           text not null default 'intended',
            updated_at      timestamptz not null default now(),
            primary key (reservation_id, intent, lock_id)
        );
        create unique index passcodes_one_per_window on passcodes (lock_id, starts_at, ends_at) where gateway is null;
        comment on column passcodes.state is 'intended before the call; set; revoked; left: cannot be deleted';
    """)

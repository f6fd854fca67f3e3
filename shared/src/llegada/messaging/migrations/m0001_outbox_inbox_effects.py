"""Outbox, inbox, effect ledger and the relay's heartbeat."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "messaging_0001", None, ("messaging",), None


def upgrade() -> None:
    op.execute("""
        create table outbox (
            id          bigint generated always as identity primary key,
            lane        smallint not null check (lane in (0, 1)),
            exchange    text not null,
            routing_key text not null,
            message_id  uuid not null,
            type        text not null,
            properties  jsonb not null,
            body        bytea not null,
            created_at  timestamptz not null default now(),
            due_at      timestamptz,
            held_until  timestamptz
        ) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500, fillfactor = 70);
        create index outbox_ready on outbox (lane, id) where held_until is null;
        create index outbox_held on outbox (held_until) where held_until is not null;
        comment on table outbox is 'Messages on their way out; a row is deleted after the broker confirmed it';
        comment on column outbox.lane is '0 interactive, 1 bulk';
        comment on column outbox.due_at is 'When an inline dispatcher may work it; the relay ignores it, rungs wait';
        comment on column outbox.held_until is 'Nobody touches the row before: unroutable, or claimed by a dispatcher';

        create table inbox (
            subscriber    text not null,
            message_id    uuid not null,
            pass          integer not null,
            attempt       integer not null,
            outcome       text not null check (outcome in ('done', 'skipped', 'retrying', 'waiting', 'dead')),
            failure_class text,
            reason        text,
            next_try_at   timestamptz,
            settled_at    timestamptz not null default now(),
            primary key (subscriber, message_id)
        );
        create index inbox_recent on inbox (subscriber, settled_at);

        create table effects (
            organization_id  bigint not null,
            kind             text not null,
            subject          text not null,
            intent           integer not null,
            state            text not null check (state in ('intended', 'done', 'skipped')),
            outcome          text not null check (outcome in ('asked', 'undone', 'unknown', 'done')),
            attempt          integer not null,
            reference_list   text[] not null,
            unknown_outcomes integer not null default 0,
            doubtful         boolean not null default false,
            owner            uuid,
            lease_until      timestamptz,
            receipt          jsonb,
            opened_at        timestamptz not null default now(),
            updated_at       timestamptz not null default now(),
            primary key (organization_id, kind, subject, intent)
        );
        comment on column effects.unknown_outcomes is 'Attempts of which nobody knows what they did';

        create table relay_heartbeat (
            id          smallint primary key default 1 check (id = 1),
            backend_pid integer not null,
            beat_at     timestamptz not null default now()
        );
    """)

"""Dead letters, their replays, and who did what with them. Used in the schema of the service that keeps them."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "messaging_0002", "messaging_0001", None, None


def upgrade() -> None:
    op.execute("""
        create table replays (
            id              bigint generated always as identity primary key,
            organization_id bigint,
            actor           text not null,
            selection       jsonb not null,
            rate            integer not null check (rate > 0),
            total           integer not null,
            state           text not null default 'running' check (state in ('running', 'finished', 'stopped')),
            reason          text,
            created_at      timestamptz not null default now(),
            sent_at         timestamptz,
            ended_at        timestamptz
        );
        create index replays_running on replays (id) where state = 'running';
        comment on column replays.rate is 'Messages a second, after the first one and the first ten have succeeded';

        create table dead_letters (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            service         text not null,
            queue           text not null,
            subscriber      text not null,
            message_id      uuid not null,
            pass            integer not null,
            attempts        integer not null,
            type            text not null,
            subject         text not null,
            lane            smallint not null,
            correlation_id  text not null,
            headers         jsonb,
            properties      jsonb not null,
            body            bytea,
            edited_body     bytea,
            origin          text not null check (origin in ('settled', 'broker', 'unroutable')),
            error_class     text not null,
            error_code      text,
            reason          text not null,
            fingerprint     text not null,
            failed_at       timestamptz not null,
            stored_at       timestamptz not null default now(),
            state           text not null default 'open'
                check (state in ('open', 'queued', 'replayed', 'done', 'failed_again', 'discarded', 'expired')),
            settled_at      timestamptz,
            replay_id       bigint references replays,
            unique (queue, message_id, pass)
        );
        create index dead_letters_by_state on dead_letters (state, id desc);
        create index dead_letters_by_fingerprint on dead_letters (fingerprint, state);
        create index dead_letters_of_replay on dead_letters (replay_id, state) where replay_id is not null;
        create index dead_letters_of_message on dead_letters (message_id);
        comment on column dead_letters.origin is 'settled: our own failure; broker: it gave up (delivery limit);
            unroutable: it came back for a queue that is gone';
        comment on column dead_letters.state is 'open; queued for a replay; replayed, outcome pending; done or
            failed_again: what the replay came to; discarded; expired: settled long ago, content removed';

        create table dead_letter_log (
            id              bigint generated always as identity primary key,
            organization_id bigint,
            dead_letter_id  bigint,
            replay_id       bigint,
            at              timestamptz not null default now(),
            actor           text not null,
            action          text not null,
            detail          jsonb not null default '{}'
        );
        create index dead_letter_log_of_one on dead_letter_log (dead_letter_id);
        create index dead_letter_log_of_replay on dead_letter_log (replay_id);
    """)

"""Organizations and their rules, bookings as far as tasks need them, tasks, deadlines, life cycles."""

from alembic import op

revision = "backoffice_worker_0001"
down_revision = None
branch_labels = ("backoffice_worker",)
depends_on = "messaging_0001"


def upgrade() -> None:
    op.execute("""
        create table organizations (
            organization_id bigint primary key,
            revision        integer not null,
            name            text not null,
            time_zone       text not null,
            check_in_time   time not null,
            check_out_time  time not null
        );

        create table rules (
            organization_id bigint primary key,
            revision        integer not null,
            rules           jsonb not null
        );

        create table bookings (
            organization_id  bigint not null,
            reservation_id   bigint not null,
            guest_name       text,
            room             text,
            check_in         date,
            check_out        date,
            asked            bigint,
            paid             bigint not null default 0,
            payment_revision integer not null default 0,
            facts            text[] not null default '{}',
            primary key (organization_id, reservation_id)
        );

        create table tasks (
            organization_id bigint not null,
            key             uuid not null,
            subject         text not null,
            scope           text,
            follows         jsonb not null,
            status          text not null,
            revision        integer not null default 1,
            task            jsonb not null,
            created_at      timestamptz not null default now(),
            primary key (organization_id, key)
        );
        create index tasks_of_subject on tasks (organization_id, subject);
        comment on column tasks.task is 'What was told of it, but for status and revision';

        create table deadlines (
            organization_id bigint not null,
            reservation_id  bigint not null,
            movement        text not null,
            due_at          timestamptz not null,
            met             boolean not null default false,
            told            text[] not null default '{}',
            primary key (organization_id, reservation_id, movement)
        );
        create index deadlines_open on deadlines (due_at) where not met;
        comment on column deadlines.told is 'The rules that have made their task';

        create table lifecycles (
            organization_id bigint not null,
            user_id         bigint not null,
            revision        integer not null,
            status          text not null,
            steps           jsonb not null,
            person          jsonb not null,
            exit_on         date,
            primary key (organization_id, user_id)
        );
        comment on column lifecycles.person is 'The user as created: what certificate and contract say';
    """)

"""People, their work and statements, documents, tasks with their rules and history, life cycles."""

from alembic import op

revision = "reservation_api_0008"
down_revision = "reservation_api_0007"
branch_labels = None
depends_on = None

_WRITTEN = (
    "users",
    "work_times",
    "statements",
    "statement_editions",
    "statement_runs",
    "documents",
    "tasks",
    "task_history",
    "task_rules",
)
_READ = ("lifecycles", "lifecycle_history")


def upgrade() -> None:
    _people()
    _statements()
    _tasks()
    for table in (*_WRITTEN, *_READ):
        op.execute(f"""
            alter table {table} enable row level security;
            alter table {table} force row level security;
            create policy own_organization on {table} to llegada_app
                using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
            create policy everything on {table} to llegada_system using (true);
        """)
    op.execute(f"""
        grant select, insert, update on {", ".join(_WRITTEN)} to llegada_app;
        grant select on {", ".join(_READ)} to llegada_app;
        grant usage on all sequences in schema reservation_api to llegada_app;
    """)


def _people() -> None:
    op.execute("""
        create table users (
            id              bigint generated always as identity primary key,
            organization_id bigint not null references organizations,
            number          integer not null,
            name            text not null,
            email           text not null,
            person          text not null,
            language        text not null,
            employment      jsonb not null,
            billing         jsonb not null default '{}',
            active          boolean not null default true,
            leaves_on       date,
            created_by      text not null,
            created_at      timestamptz not null default now(),
            unique (organization_id, number),
            unique (organization_id, email),
            unique (organization_id, person)
        );
        comment on column users.number is 'Counts an organization''s people, without gaps: part of statement numbers';
        comment on column users.person is 'The subject in the token of this person';
        comment on column users.billing is 'Settings of the monthly statements';

        create table lifecycles (
            organization_id bigint not null,
            user_id         bigint not null,
            revision        integer not null,
            status          text not null,
            progress        integer not null,
            steps           jsonb not null,
            primary key (organization_id, user_id)
        );

        create table lifecycle_history (
            organization_id bigint not null,
            user_id         bigint not null,
            revision        integer not null,
            at              timestamptz not null,
            what            text not null,
            by              text not null,
            status          text not null,
            progress        integer not null,
            primary key (organization_id, user_id, revision)
        );

        create table documents (
            organization_id bigint not null,
            subject         text not null,
            key             text not null,
            kind            text not null,
            state           text not null default 'requested',
            request_id      uuid not null,
            reason          text,
            advice          text,
            name            text,
            media_type      text,
            sha256          text,
            pages           integer,
            content         bytea,
            requested_at    timestamptz not null default now(),
            ready_at        timestamptz,
            primary key (organization_id, subject, key)
        );
        create unique index documents_by_request on documents (request_id);
        alter table documents alter column content set storage external;
        comment on column documents.state is 'requested, ready, failed';
        comment on column documents.request_id is 'The message that ordered it: what a failed job names as its cause';
    """)


def _statements() -> None:
    op.execute("""
        create table statements (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            user_id         bigint not null references users,
            month           date not null,
            number          text not null,
            period_start    date not null,
            period_end      date not null check (period_end > period_start),
            edition         integer not null default 1,
            status          text not null default 'requested',
            mail_intent     integer not null default 0,
            sent_to         text,
            sent_at         timestamptz,
            created_at      timestamptz not null default now(),
            unique (organization_id, user_id, month),
            unique (organization_id, number)
        );
        comment on column statements.status is 'requested, failed, generated, sent, archived';

        create table statement_editions (
            organization_id bigint not null,
            statement_id    bigint not null references statements,
            edition         integer not null,
            recipient       text not null,
            language        text not null,
            currency        text not null,
            hourly_rate     bigint,
            lines           jsonb,
            minutes         integer,
            consultations   integer,
            carried_minutes integer,
            amount          bigint,
            created_by      text not null,
            created_at      timestamptz not null default now(),
            primary key (statement_id, edition)
        );

        create table statement_runs (
            organization_id bigint not null,
            user_id         bigint not null,
            month           date not null,
            outcome         text not null default 'requested',
            statement_id    bigint,
            began_at        timestamptz not null default now(),
            primary key (organization_id, user_id, month)
        );
        comment on table statement_runs is 'Whoever inserts the row orders the statement: replicas may look at once';
        comment on column statement_runs.outcome is 'requested, nothing_to_bill';

        create table work_times (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            external_id     text not null,
            user_id         bigint not null references users,
            client_id       text,
            client_name     text,
            worked_on       date not null,
            minutes         integer not null check (minutes > 0),
            kind            text not null,
            statement_id    bigint references statements,
            imported_at     timestamptz not null default now(),
            unique (organization_id, external_id)
        );
        create index work_times_open on work_times (organization_id, user_id, worked_on) where statement_id is null;
        create index work_times_of_statement on work_times (statement_id);
    """)


def _tasks() -> None:
    op.execute("""
        create table task_rules (
            organization_id bigint primary key,
            revision        integer not null,
            rules           jsonb not null
        );

        create table tasks (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            key             uuid not null,
            rule            text,
            cause           text,
            reservation_id  bigint,
            user_id         bigint,
            step            text,
            title           jsonb not null,
            role            text,
            person          text,
            due_at          timestamptz,
            quality_control boolean not null,
            status          text not null,
            rule_revision   integer not null default 1,
            finished_by     text,
            created_by      text not null,
            created_at      timestamptz not null default now(),
            updated_at      timestamptz not null default now(),
            unique (organization_id, key)
        );
        create index tasks_to_do on tasks (organization_id, status, due_at);
        create index tasks_of_reservation on tasks (organization_id, reservation_id) where reservation_id is not null;
        comment on column tasks.title is 'Language → text';
        comment on column tasks.finished_by is 'Who said that it is done: somebody else controls the quality';

        create table task_history (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            task_id         bigint not null references tasks,
            at              timestamptz not null default now(),
            actor           text not null,
            from_status     text,
            to_status       text not null,
            note            text
        );
        create index history_of_task on task_history (task_id, id);
    """)

"""Organizations, reservations, idempotency keys, timeline, audit log; row-level security for the app's role."""

from alembic import op

revision = "reservation_api_0001"
down_revision = None
branch_labels = ("reservation_api",)
depends_on = "messaging_0001"

_OF_ORGANIZATIONS = ("organizations", "reservations", "idempotency_keys", "timeline", "audit_log")


def upgrade() -> None:
    op.execute("""
        create table organizations (
            organization_id bigint primary key,
            name            text not null,
            time_zone       text not null,
            language        text not null,
            channels        text[] not null,
            wordings        jsonb not null default '{}',
            revision        integer not null default 1,
            updated_at      timestamptz not null default now()
        );

        create table reservations (
            id                  bigint generated always as identity primary key,
            organization_id     bigint not null references organizations,
            guest_name          text not null,
            guest_phone         text,
            guest_email         text,
            amount              bigint not null check (amount > 0),
            currency            text not null,
            check_in_date       date not null,
            check_out_date      date not null check (check_out_date > check_in_date),
            arrival_time        time,
            room_number         text,
            language            text not null,
            guests              jsonb not null default '[]',
            status              text not null default 'confirmed',
            processing_status   text not null default 'pending',
            steps               jsonb not null default '{}',
            payment_link        text,
            payment_link_intent integer not null default 0,
            sent_message        text,
            sent_message_at     timestamptz,
            check_in_token      text not null unique,
            created_by          text not null,
            created_at          timestamptz not null default now(),
            updated_at          timestamptz not null default now()
        ) with (fillfactor = 70);
        create index reservations_recent on reservations (organization_id, id desc);
        create index reservations_arrivals on reservations (organization_id, check_in_date);
        comment on column reservations.amount is 'Whole pesos';
        comment on column reservations.guests is 'Document fields of the guests, first the one who booked';

        create table idempotency_keys (
            organization_id bigint not null,
            key             text not null,
            request_hash    bytea not null,
            answer          jsonb,
            created_at      timestamptz not null default now(),
            primary key (organization_id, key)
        );

        create table timeline (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            reservation_id  bigint not null,
            event_id        uuid not null unique,
            type            text not null,
            source          text not null,
            happened_at     timestamptz not null,
            summary         jsonb not null
        );
        create index timeline_of_reservation on timeline (reservation_id, happened_at);

        create table audit_log (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            actor           text not null,
            action          text not null,
            subject         text not null,
            request_id      text not null,
            at              timestamptz not null default now()
        );
        create index audit_of_subject on audit_log (organization_id, subject);
    """)
    for table in _OF_ORGANIZATIONS:
        op.execute(f"""
            alter table {table} enable row level security;
            alter table {table} force row level security;
            create policy own_organization on {table} to llegada_app
                using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
            create policy everything on {table} to llegada_system using (true);
        """)
    op.execute("""
        grant select, insert, update on organizations, reservations, idempotency_keys to llegada_app;
        grant select on timeline to llegada_app;
        grant select, insert on audit_log, outbox to llegada_app;
        grant usage on all sequences in schema reservation_api to llegada_app;
    """)

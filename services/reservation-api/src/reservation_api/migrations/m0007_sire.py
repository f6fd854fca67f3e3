"""The rows and files for the portal of SIRE, as staff handle them."""

from alembic import op

revision = "reservation_api_0007"
down_revision = "reservation_api_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table sire_files (
            organization_id bigint not null,
            number          integer not null,
            day             date not null,
            created_by      text not null,
            created_at      timestamptz not null default now(),
            result          text,
            recorded_at     timestamptz,
            primary key (organization_id, number)
        );
        create table sire_rows (
            id              bigint generated always as identity primary key,
            organization_id bigint not null,
            key             text not null,
            reservation_id  bigint not null,
            movement        text not null,
            intent          integer not null,
            moved_on        date not null,
            line            text not null,
            due_at          timestamptz not null,
            state           text not null default 'waiting',
            reason          text,
            file_number     integer,
            unique (organization_id, key)
        );
        create index sire_rows_by_state on sire_rows (organization_id, state, moved_on);
        comment on column sire_rows.state is 'waiting, in_file, accepted, rejected, uncertain';
    """)
    for table in ("sire_files", "sire_rows"):
        op.execute(f"""
            alter table {table} enable row level security;
            alter table {table} force row level security;
            create policy own_organization on {table} to llegada_app
                using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
            create policy everything on {table} to llegada_system using (true);
            grant select, insert, update on {table} to llegada_app;
        """)

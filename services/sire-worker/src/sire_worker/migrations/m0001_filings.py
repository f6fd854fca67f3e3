"""Properties as SIRE knows them, and the archive of what was meant to be filed, when, and what became of it."""

from alembic import op

revision = "sire_worker_0001"
down_revision = None
branch_labels = ("sire_worker",)
depends_on = "messaging_0001"


def upgrade() -> None:
    op.execute("""
        create table organizations (
            organization_id bigint primary key,
            revision        integer not null,
            time_zone       text not null,
            sire            jsonb
        );

        create table filings (
            organization_id bigint not null,
            key             text not null,
            reservation_id  bigint not null,
            movement        text not null,
            intent          integer not null,
            line            text not null,
            due_at          timestamptz not null,
            state           text not null default 'waiting',
            reason          text,
            escalated       boolean not null default false,
            filed_at        timestamptz,
            created_at      timestamptz not null default now(),
            primary key (organization_id, key)
        );
        create index filings_of_reservation on filings (reservation_id);
        create index filings_due on filings (due_at) where state <> 'accepted' and not escalated;
        comment on column filings.key is 'Document, day, movement: what SIRE itself takes for one report';
        comment on column filings.state is 'waiting, accepted, rejected, uncertain';
    """)

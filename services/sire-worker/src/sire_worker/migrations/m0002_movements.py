"""The clock of each movement: it runs from the movement on, also while nothing can be filed yet."""

from alembic import op

revision = "sire_worker_0002"
down_revision = "sire_worker_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table movements (
            organization_id bigint not null,
            reservation_id  bigint not null,
            movement        text not null,
            intent          integer not null,
            due_at          timestamptz not null,
            blocked         boolean not null default false,
            escalated       boolean not null default false,
            primary key (organization_id, reservation_id, movement)
        );
        create index movements_due on movements (due_at) where not escalated;
        comment on column movements.blocked is 'The newest wish has documents that cannot be filed';

        insert into movements (organization_id, reservation_id, movement, intent, due_at, escalated)
        select organization_id, reservation_id, movement, max(intent), min(due_at), bool_or(escalated)
        from filings group by organization_id, reservation_id, movement;
    """)

"""What became of people's contracts: each change with what was before, what is after, and who made it."""

from alembic import op

revision = "reservation_api_0010"
down_revision = "reservation_api_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table contract_changes (
            organization_id bigint not null,
            user_id         bigint not null references users,
            number          integer not null,
            effective_on    date not null,
            before          jsonb not null,
            after           jsonb not null,
            reason          text,
            changed_by      text not null,
            changed_at      timestamptz not null default now(),
            primary key (user_id, number)
        );
        alter table contract_changes enable row level security;
        alter table contract_changes force row level security;
        create policy own_organization on contract_changes to llegada_app
            using (organization_id = nullif(current_setting('llegada.organization', true), '')::bigint);
        create policy everything on contract_changes to llegada_system using (true);
        grant select, insert on contract_changes to llegada_app;
    """)

"""What is known of a booking's payments: what was asked, its links, and what Bold told."""

from alembic import op

revision = "payment_worker_0001"
down_revision = None
branch_labels = ("payment_worker",)
depends_on = "messaging_0001"


def upgrade() -> None:
    op.execute("""
        create table bookings (
            reservation_id  bigint primary key,
            organization_id bigint not null,
            asked           bigint,
            link_intent     integer not null default 0,
            ended           text,
            revision        integer not null default 0
        );
        comment on column bookings.asked is 'Whole pesos';
        comment on column bookings.link_intent is 'The newest link that anybody wanted';
        comment on column bookings.revision is 'Counts what payments changed; see PaymentEvent';

        create table links (
            link_id         text primary key,
            organization_id bigint not null,
            reservation_id  bigint not null,
            reference       text not null,
            expires_at      timestamptz not null,
            asked_at        timestamptz not null default now(),
            closed          boolean not null default false
        );
        create index links_to_ask_about on links (asked_at) where not closed;
        comment on column links.asked_at is 'When Bold was last asked what became of it, or when it was made';

        create table payments (
            organization_id bigint not null,
            payment_id      text not null,
            reservation_id  bigint not null,
            state           text not null,
            rank            smallint not null,
            total           bigint not null,
            at              timestamptz not null,
            primary key (organization_id, payment_id)
        );
        create index payments_of_reservation on payments (reservation_id);
        comment on column payments.rank is 'A payment only goes forward: rejected 1, approved 2, voided 3';
    """)

"""What became of a statement's newest e-mail: it is on its way, it was sent, or it failed for a reason."""

from alembic import op

revision = "reservation_api_0012"
down_revision = "reservation_api_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table statements add column mail_state text, add column mail_reason text, add column mail_advice text;
        comment on column statements.mail_state is 'waiting, sent, failed; null: this edition was not sent by e-mail';
    """)

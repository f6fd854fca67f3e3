"""The tables of messaging, in each service's own schema: outbox, inbox, effects, and the relay's heartbeat.

The migrations create them; statements on hot paths stand as SQL text beside their use.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()
_now = func.now()

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("lane", SmallInteger, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("properties", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("due_at", DateTime(timezone=True)),
    Column("held_until", DateTime(timezone=True)),
    Index("outbox_ready", "lane", "id", postgresql_where=text("held_until is null")),
    Index("outbox_held", "held_until", postgresql_where=text("held_until is not null")),
)

inbox = Table(
    "inbox",
    metadata,
    Column("subscriber", Text, primary_key=True),
    Column("message_id", Uuid, primary_key=True),
    Column("pass", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("failure_class", Text),
    Column("reason", Text),
    Column("next_try_at", DateTime(timezone=True)),
    Column("settled_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Index("inbox_recent", "subscriber", "settled_at"),
)

effects = Table(
    "effects",
    metadata,
    Column("organization_id", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("intent", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reference_list", ARRAY(Text), nullable=False),
    Column("unknown_outcomes", Integer, nullable=False, server_default="0"),
    Column("doubtful", Boolean, nullable=False, server_default="false"),
    Column("owner", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("receipt", JSONB),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

relay_heartbeat = Table(
    "relay_heartbeat",
    metadata,
    Column("id", SmallInteger, primary_key=True, server_default="1"),
    Column("backend_pid", Integer, nullable=False),
    Column("beat_at", DateTime(timezone=True), nullable=False, server_default=_now),
)

"""What nobody asks for any more is deleted, a little at a time, by whoever moves the outbox."""

from llegada.messaging import gate, inbox
from llegada.messaging.transaction import Transaction


async def clean_up(connection: Transaction) -> None:
    """Old slots and limits, and old rows of the inbox."""
    await connection.execute(gate.CLEAN)
    await connection.execute(inbox.CLEAN)

"""The table of the schema example_worker."""

from llegada.messaging.transaction import Transaction


class Store:
    async def keep(self, tx: Transaction, reservation_id: int, words: str) -> None:
        await tx.execute("insert into welcomes (reservation_id, words) values ($1, $2)", reservation_id, words)

"""What the example does: it welcomes every new reservation, in the database."""

from example_worker.store import Store
from llegada.events.reservation import ReservationCreated
from llegada.messaging.transaction import Transaction


class Welcomes:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def welcome(self, event: ReservationCreated, tx: Transaction) -> None:
        await self._store.keep(tx, event.reservation_id, f"Welcome, {event.guest_name}")

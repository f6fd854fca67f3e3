"""The broker as it may be: deliveries come twice, and in another order. And a journal of what was handled.

`CRASH_COPIES`: the share of published messages of which a copy with the same id is published once more, later and
shuffled, after a shuffled batch; each copy adds a byte to the file `CRASH_COUNT`. `CRASH_JOURNAL`: every state change
notes in its own transaction which messages it handled, so that the judge sees a message that was handled twice.
`CRASH_DELIVERY_COUNTS`: a file that gets a line with the count of each delivery that the broker had handed back before.
"""

import os
import random
from typing import Any

SHARE = float(os.environ.get("CRASH_COPIES", "0"))
_NOTE = "insert into crash.handled select $1, * from unnest($2::uuid[], $3::text[])"


def install() -> None:
    if SHARE:
        _copies()
    if os.environ.get("CRASH_JOURNAL"):
        _journal()
    if os.environ.get("CRASH_DELIVERY_COUNTS"):
        _delivery_counts()


def _copies() -> None:
    from llegada.messaging.publisher import Publisher, Receipt

    publish = Publisher.publish
    source = random.Random(os.environ.get("CRASH_SEED", ""))
    count = os.open(os.environ["CRASH_COUNT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def twice(self: Any, batch: Any) -> Any:
        order = list(range(len(batch)))
        source.shuffle(order)
        shuffled = await publish(self, [batch[number] for number in order])
        receipts = [Receipt.UNKNOWN] * len(batch)
        for number, receipt in zip(order, shuffled, strict=True):
            receipts[number] = receipt
        again = [batch[n] for n in order if receipts[n] is Receipt.CONFIRMED and source.random() < SHARE]
        if again:
            source.shuffle(again)
            copied = await publish(self, again)
            os.write(count, b"+" * copied.count(Receipt.CONFIRMED))
        return receipts

    Publisher.publish = twice  # type: ignore[method-assign] # the point of this module


def _journal() -> None:
    from llegada.messaging.delivery import Consumer

    handle = Consumer._handle

    async def noted(self: Any, batch: Any, tx: Any) -> Any:
        envelopes = [delivered.envelope for delivered in batch]
        await tx.execute(_NOTE, self.name, [envelope.id for envelope in envelopes], [e.type for e in envelopes])
        return await handle(self, batch, tx)

    Consumer._handle = noted  # type: ignore[method-assign] # the point of this module


def _delivery_counts() -> None:
    from llegada.messaging.broker import Binding

    consume = Binding._consume
    counts = os.open(os.environ["CRASH_DELIVERY_COUNTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def counted(self: Any, queue: str, settle: Any, message: Any) -> None:
        count = message.raw_message.headers.get("x-delivery-count")
        if count:
            os.write(counts, f"{count}\n".encode())
        await consume(self, queue, settle, message)

    Binding._consume = counted  # type: ignore[method-assign] # the point of this module

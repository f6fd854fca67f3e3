"""Bugs that the harness must find, each a mechanism of the promise taken out. `CRASH_PLANT` names one."""

import asyncio
import os
import sys
from typing import Any


def install() -> None:
    plant = os.environ.get("CRASH_PLANT")
    if plant:
        PLANTS[plant]()


def _replaced(text: str, old: str, new: str) -> str:
    """A plant that no longer fits the code it breaks must not pass for a bug that cannot be found."""
    assert old in text, f"nothing to take out: {old}"
    return text.replace(old, new)


def _put(owner: Any, name: str, broken: Any) -> None:
    assert hasattr(owner, name), f"nothing to break: {owner}.{name}"
    setattr(owner, name, broken)


def ack_before_commit() -> None:
    """A delivery is acknowledged before anything is done about it."""
    from llegada.messaging.broker import Binding

    consume = Binding._consume

    async def acked_first(self: Any, queue: str, settle: Any, message: Any) -> None:
        await message.ack()
        await consume(self, queue, settle, message)

    _put(Binding, "_consume", acked_first)


def publish_before_commit() -> None:
    """The API publishes what a request wants to say before the transaction has come to its end."""
    if "reservation-api" not in sys.orig_argv:
        return
    from llegada.messaging.publisher import Outgoing, Publisher
    from reservation_api.reservations import store

    add = store.add
    publisher = Publisher(os.environ["AMQP_URL"], "planted")

    async def published(tx: Any, row: Any, message: Any, *more: Any) -> Any:
        ids = await add(tx, row, message, *more)
        sent = message.envelope
        about = (sent.id, sent.type, sent.source, sent.correlation_id, sent.headers())
        await publisher.publish([Outgoing(message.exchange, message.routing_key, *about, message.body)])
        return ids

    _put(store, "add", published)


def no_inbox() -> None:
    """Nobody remembers which messages were handled."""
    from llegada.messaging import delivery, inbox

    settle_done = inbox.settle_done

    async def all_new(tx: Any, subscriber: str, envelopes: Any) -> Any:
        await settle_done(tx, subscriber, envelopes)
        return {envelope.id for envelope in envelopes}

    _put(delivery, "settle_done", all_new)


def no_confirm() -> None:
    """Rows leave the outbox as soon as they are written to the socket."""
    from llegada.messaging.publisher import Publisher, Receipt

    async def nobody_waits(self: Any, batch: Any) -> Any:
        channel = await self.connect()
        for message in batch:
            asyncio.ensure_future(self._one(channel, message))  # noqa: RUF006 - the bug: nobody waits for it
        await asyncio.sleep(0)
        return [Receipt.CONFIRMED] * len(batch)

    _put(Publisher, "publish", nobody_waits)


def no_lease() -> None:
    """An effect that is begun has no owner: whoever gets the delivery calls, whoever called settles."""
    from llegada.messaging import effects, inbox
    from llegada.messaging.delivery import Consumer

    without = _replaced(effects.CLAIM, "and (e.lease_until is null or e.lease_until < now())", "")
    without = _replaced(without, "e.unknown_outcomes + (e.outcome <> 'undone')::int", "e.unknown_outcomes")
    effects.CLAIM = _replaced(without, "e.doubtful or e.outcome <> 'undone'", "e.doubtful")
    anybody = "and $22::uuid is not null"
    inbox.CLOSE_AND_SETTLE = _replaced(inbox.CLOSE_AND_SETTLE, "and owner = $22", anybody)
    claim = Consumer._claim

    async def endless(self: Any, *arguments: Any) -> Any:
        claimed, _ = await claim(self, *arguments)
        return claimed, float("inf")

    _put(Consumer, "_claim", endless)


PLANTS = {
    "ack-before-commit": ack_before_commit,
    "publish-before-commit": publish_before_commit,
    "no-inbox": no_inbox,
    "no-confirm": no_confirm,
    "no-lease": no_lease,
}

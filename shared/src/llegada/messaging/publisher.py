"""Publishing that can be trusted: persistent, mandatory, confirmed, with a time-out, on a connection of its own.

The one place from which messages leave. FastStream's publisher is not used for it: it is non-persistent by default,
ignores its time-out, and says nothing about unroutable messages (docs/decisions/0004).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import ChannelClosed, PublishError

from llegada.messaging.envelope import CONTENT_TYPE

TIMEOUT = 10.0  # seconds for a whole batch
HEARTBEAT = 10  # seconds; a dead peer is noticed after about 33
BROKER_AWAY = (OSError, AMQPError, RuntimeError, StopAsyncIteration)
"""What the clients raise when the broker cannot be reached. The last two are aiormq's words for a connection that is
closed, and for one that the broker closes in the middle of the handshake."""


@dataclass(frozen=True)
class Outgoing:
    """A message as it goes over the wire."""

    exchange: str
    routing_key: str
    message_id: UUID
    type: str
    app_id: str
    correlation_id: str
    headers: Mapping[str, Any]
    body: bytes


class Receipt(Enum):
    """What the broker said about one message."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    REFUSED = "refused"
    """A queue was full (`reject-publish`) or had no leader, or the broker closed the channel over this very message: no
    right to publish it, an exchange that is not there, too large."""
    CLOSED = "closed"
    """The channel was closed over one of the messages beside it; `publish` finds out over which."""
    UNKNOWN = "unknown"
    """No answer: it may be in the queue or not. Sending it again is right; consumers can tell."""


class Publisher:
    """One connection, opened when needed and thrown away after any doubt: what it said before stays true."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed

    async def connect(self) -> AbstractChannel:
        """The channel, with confirms and returns as errors. Raises one of BROKER_AWAY while there is none."""
        if self._channel is not None and self.connected and not self._channel.is_closed:
            return self._channel
        await self.close()
        async with asyncio.timeout(TIMEOUT):
            self._connection = await aio_pika.connect(
                self._url, heartbeat=HEARTBEAT, client_properties={"connection_name": self._name}
            )
            self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        return self._channel

    async def publish(self, batch: Sequence[Outgoing]) -> list[Receipt]:
        """Publish pipelined; one receipt a message, in order, never CLOSED. No two messages of a batch may share an id.

        Raises what `connect` raises. After a time-out or a cut the connection is closed. A message over which the
        broker closes the channel takes the others' confirms with it: then each that has none is published alone.
        """
        receipts = await self._together(batch)
        if Receipt.CLOSED not in receipts:
            return receipts
        if len(batch) == 1:
            return [Receipt.REFUSED]
        for place, message in enumerate(batch):
            if receipts[place] in (Receipt.CLOSED, Receipt.UNKNOWN):
                (receipts[place],) = await self.publish([message])
        return receipts

    async def _together(self, batch: Sequence[Outgoing]) -> list[Receipt]:
        if not batch:
            return []
        channel = await self.connect()
        tasks = [asyncio.create_task(self._one(channel, message)) for message in batch]
        done, late = await asyncio.wait(tasks, timeout=TIMEOUT)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        receipts = [task.result() if task in done else Receipt.UNKNOWN for task in tasks]
        if Receipt.UNKNOWN in receipts:
            await self.close()
        return receipts

    async def _one(self, channel: AbstractChannel, message: Outgoing) -> Receipt:
        try:
            if message.exchange:
                exchange = await channel.get_exchange(message.exchange, ensure=False)
            else:
                exchange = channel.default_exchange
            await exchange.publish(_wire(message), routing_key=message.routing_key, mandatory=True)
        except PublishError:
            return Receipt.UNROUTABLE
        except DeliveryError:
            return Receipt.REFUSED
        except ChannelClosed:
            return Receipt.CLOSED
        except BROKER_AWAY:
            return Receipt.UNKNOWN
        return Receipt.CONFIRMED

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None or connection.is_closed:
            return
        try:
            async with asyncio.timeout(2):
                await connection.close()
        except BROKER_AWAY:
            return  # it is gone, which is what was wanted


def _wire(message: Outgoing) -> Message:
    return Message(
        message.body,
        content_type=CONTENT_TYPE,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=str(message.message_id),
        type=message.type,
        app_id=message.app_id,
        correlation_id=message.correlation_id,
        timestamp=datetime.now(UTC),
        headers=dict(message.headers),
    )

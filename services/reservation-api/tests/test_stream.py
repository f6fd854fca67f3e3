"""The live stream: nothing is missed, whatever commits when; a listener goes on where it was, and sees its own only."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from llegada.events.event import Event
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database, Transaction
from llegada.runtime.service import Resources
from llegada.runtime.settings import RuntimeSettings
from llegada.testing.eventually import eventually
from llegada.testing.plugin import EngineAs
from reservation_api.parts import Parts
from reservation_api.timeline.projection import Projection
from reservation_api.timeline.stream import _AFTER, Place, Stream

Link = Callable[..., Event]
Reservation = Callable[[], Awaitable[int]]


@pytest.fixture
def part(database: Database, database_url: str, engine_as: EngineAs) -> Parts:
    settings = RuntimeSettings(database_url=SecretStr(database_url))
    resources = Resources(settings, database, lambda role: engine_as("reservation_api", role), None, {})
    app = Database(engine_as("reservation_api", "llegada_app"), "reservation_api")
    return Parts(app, resources, "https://desk.test")


def delivered(event: Event) -> Delivered[Event]:
    return Delivered(event, first(event, source="t", correlation_id="1", lane=Lane.INTERACTIVE, traceparent=None))


async def project(tx: Transaction, event: Event) -> None:
    await Projection().project([delivered(event)], tx)


class Failing(Database):
    """Ends the next statements as PostgreSQL does those that take too long."""

    next_ones = 0

    def __init__(self, like: Database) -> None:
        super().__init__(like.engine, like.schema)

    async def fetchrow(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        if self.next_ones:
            self.next_ones -= 1
            raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")
        return await super().fetchrow(statement, *arguments)


class Listener:
    """Takes from the stream in the background."""

    def __init__(self, part: Parts, stream: Stream, **where: Any) -> None:
        self.places: list[Place] = []
        self.entries: list[dict[str, Any]] = []
        self._source = stream.entries(part, where.get("organization", 1), where.get("reservation"), where.get("place"))
        self._task = asyncio.create_task(self._listen())
        self._more = asyncio.Condition()

    async def _listen(self) -> None:
        async for place, entry in self._source:
            async with self._more:
                self.places.append(place)
                self.entries.append(entry)
                self._more.notify_all()

    async def has(self, number: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10), self._more:
            await self._more.wait_for(lambda: len(self.entries) >= number)
        return self.entries

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def listening(stream: Stream) -> None:
    """Until the stream has begun to look."""
    await eventually(lambda: stream._looking is not None, what="the stream looks")


async def test_what_commits_late_comes_late_and_is_not_skipped(
    client: httpx.AsyncClient, part: Parts, database: Database, link: Link, reservation: Reservation
) -> None:
    one, other, stream = await reservation(), await reservation(), Stream(database)
    listener = Listener(part, stream)
    await listening(stream)
    before = await stream._here()
    async with database.transaction() as late:
        await project(late, link(one, 1))
        async with database.transaction() as early:
            await project(early, link(other, 1))
        async with part.transaction(1) as tx:
            ahead = await tx.fetch(_AFTER, 1, None, before.xid, before.id, 10)
        assert ahead == [], "whoever reads now would go on behind what is still to be committed"
    found = await listener.has(2)
    assert {entry["reservationId"] for entry in found} == {one, other}
    assert listener.places == sorted(listener.places)
    await listener.end()


async def test_a_listener_goes_on_where_it_was(
    client: httpx.AsyncClient, part: Parts, database: Database, link: Link, reservation: Reservation
) -> None:
    number, stream = await reservation(), Stream(database)
    listener = Listener(part, stream)
    await listening(stream)
    async with database.transaction() as tx:
        await project(tx, link(number, 1))
    await listener.has(1)
    await listener.end()
    for intent in (2, 3):
        async with database.transaction() as tx:
            await project(tx, link(number, intent))
    again = Listener(part, Stream(database), place=Place.read(str(listener.places[-1])), reservation=number)
    found = await again.has(2)
    assert [entry["summary"]["intent"] for entry in found] == [2, 3]
    await again.end()


async def test_a_look_that_failed_leaves_nobody_in_silence(
    client: httpx.AsyncClient, part: Parts, database: Database, link: Link, reservation: Reservation
) -> None:
    number, stream = await reservation(), Stream(Failing(database))
    listener = Listener(part, stream)
    await listening(stream)
    failing = stream._database
    assert isinstance(failing, Failing)
    failing.next_ones = 1
    await eventually(lambda: not failing.next_ones, what="a look has failed")
    async with database.transaction() as tx:
        await project(tx, link(number, 1))
    await listener.has(1)
    await listener.end()


async def test_each_entry_is_news_once_in_whatever_order_it_was_numbered(
    client: httpx.AsyncClient, database: Database, link: Link, reservation: Reservation
) -> None:
    one, other, stream = await reservation(), await reservation(), Stream(database)
    xid, news = (await stream._here()).xid, []
    async with database.transaction() as late, database.transaction() as early:
        await early.execute("select pg_current_xact_id()")
        await project(late, link(one, 1))
        await project(early, link(other, 1))
        await early.execute("commit; begin")
        for _ in range(2):
            xid = await stream._changed_since(xid)
            news.append(stream._changes[1])
    xid = await stream._changed_since(xid)
    assert [*news, stream._changes[1]] == [1, 1, 2]


async def test_nobody_hears_another_organization(
    client: httpx.AsyncClient, part: Parts, database: Database, link: Link, reservation: Reservation
) -> None:
    number, stream = await reservation(), Stream(database)
    stranger, own = Listener(part, stream, organization=2), Listener(part, stream)
    await listening(stream)
    async with database.transaction() as tx:
        await project(tx, link(number, 1))
    await own.has(1)
    async with database.transaction() as tx:
        await project(tx, link(number, 2, organization=2))
    (heard,) = await stranger.has(1)
    assert heard["summary"]["intent"] == 2
    await own.end()
    await stranger.end()


async def test_a_stream_ends_when_the_process_does(client: httpx.AsyncClient, part: Parts, database: Database) -> None:
    stream = Stream(database)
    listener = Listener(part, stream)
    await listening(stream)
    part.resources.stopping.set()
    async with asyncio.timeout(5):
        await asyncio.gather(listener._task)


async def test_another_organizations_reservation_has_no_stream(
    client: httpx.AsyncClient, reservation: Reservation, token: Callable[..., str]
) -> None:
    number = await reservation()
    headers = {"Authorization": f"Bearer {token(organization=2)}"}
    answer = await client.get(f"/api/reservations/{number}/events", headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("text", [None, "", "-", "1", "a-b", "1-", "9" * 30 + "-1"])
def test_a_senseless_place_begins_at_what_is_new(text: str | None) -> None:
    assert Place.read(text) is None

"""Dead letters: every kind is stored once, and a replay goes back into the one queue that failed."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika import DeliveryMode, Message

from llegada.messaging import dead_letter_desk as desk
from llegada.messaging.broker import Binding, DeadLetterQueues
from llegada.messaging.dead_letter_check import check
from llegada.messaging.dead_letter_desk import Selection
from llegada.messaging.dead_letters import Keeper, read
from llegada.messaging.failures import Credentials, Permanent
from llegada.messaging.replays import NO_OUTCOME, Counts, End, Replayer, Send, Wait, plan
from llegada.messaging.topology import UNROUTABLE
from llegada.messaging.transaction import Database, Transaction
from llegada.testing.eventually import eventually

from .conftest import SCHEMA, SERVICE, Worker, created, enveloped

LETTERS = f"{SERVICE}.dead-letters"


@pytest.fixture
async def kept(worker: Worker, broker_url: str) -> Worker:
    """The worker keeps its own dead letters."""
    await worker.declare()
    worker.relay()
    queues = DeadLetterQueues([LETTERS, UNROUTABLE], Keeper(worker.database))
    binding = Binding(broker_url, SERVICE, [worker.note, worker.link], 5, queues)
    await binding.start()
    worker._stack.push_async_callback(binding.drain, 10)
    return worker


async def letters(worker: Worker) -> list[dict[str, Any]]:
    return await worker.rows("select * from dead_letters order by id")


async def until_stored(worker: Worker, count: int = 1) -> list[dict[str, Any]]:
    async def stored() -> bool:
        return len(await letters(worker)) >= count

    await eventually(stored, 20)
    return await letters(worker)


async def die(worker: Worker, *reservations: int) -> list[dict[str, Any]]:
    """Reservations whose note fails for good."""

    def refuse(_: object) -> None:
        raise Permanent("no room 17 in 'Casa Azul'", code="room")

    before = len(await letters(worker))
    worker.probe.on_note = refuse
    worker.probe.on_perform = []
    for number in reservations:
        await worker.publish(created(number))
    found = await until_stored(worker, before + len(reservations))
    worker.probe.on_note = None
    return found


async def test_what_a_service_settled_as_dead_is_stored_with_everything(kept: Worker) -> None:
    (letter,) = await die(kept, 1)
    assert (letter["queue"], letter["origin"], letter["error_class"]) == (f"{SERVICE}.note", "settled", "permanent")
    assert (letter["reason"], letter["error_code"], letter["attempts"]) == ("no room 17 in 'Casa Azul'", "room", 1)
    assert json.loads(letter["body"])["reservation_id"] == 1
    assert letter["headers"]["gave_up"]
    assert letter["organization_id"] == 1
    async with kept.database.transaction() as tx:
        found = await check(tx, {SERVICE: SCHEMA})
    assert (found.dead, found.stored, found.missing) == (1, 1, [])


async def test_the_check_names_a_dead_letter_that_is_nowhere(kept: Worker) -> None:
    await die(kept, 1)
    await kept.database.fetchrow("delete from dead_letters")
    async with kept.database.transaction() as tx:
        assert len((await check(tx, {SERVICE: SCHEMA})).missing) == 1


async def test_what_came_back_for_a_queue_that_is_gone_is_stored(kept: Worker) -> None:
    channel = await kept.declare()
    envelope = enveloped(created(5))
    message = Message(
        b"{}", message_id=str(envelope.id), type=envelope.type, headers=envelope.headers(),
        delivery_mode=DeliveryMode.PERSISTENT,
    )  # fmt: skip
    redeliver = await channel.get_exchange("llegada.redeliver", ensure=False)
    await redeliver.publish(message, "coffee-worker.brew")
    (letter,) = await until_stored(kept)
    assert (letter["origin"], letter["queue"], letter["service"]) == (
        "unroutable",
        "coffee-worker.brew",
        "coffee-worker",
    )


async def test_what_the_broker_gave_up_on_is_stored_with_the_queue_it_died_in(kept: Worker, broker_url: str) -> None:
    channel = await kept.declare()
    name = f"{SERVICE}.doomed"
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum", "x-dead-letter-exchange": "llegada.dead-letters",
        "x-dead-letter-routing-key": SERVICE, "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish", "x-delivery-limit": 1,
    }  # fmt: skip
    queue = await channel.declare_queue(name, durable=True, arguments=arguments)
    message = Message(b"\xff not json", message_id=str(uuid4()), type="nobody.knows", delivery_mode=2)
    await channel.default_exchange.publish(message, name)

    async def die_with_it() -> bool:
        """A process that takes the message and is gone: since 4.x a returned message does not count as a delivery."""
        async with await aio_pika.connect(broker_url) as connection:
            lost = await (await connection.channel()).get_queue(name, ensure=False)
            return await lost.get(fail=False, timeout=5) is None

    await eventually(die_with_it, 20)
    (letter,) = await until_stored(kept)
    assert (letter["origin"], letter["queue"], letter["error_code"]) == ("broker", name, "delivery_limit")
    assert letter["body"] == b"\xff not json"
    await queue.delete(if_unused=False, if_empty=False)


@pytest.mark.parametrize("headers", [{}, {"x-death": []}, {"x-death": "?"}, {"x-death": [{"queue": 7}]}, {"queue": 1}])
def test_nothing_that_a_message_says_stops_its_storing(headers: dict[str, Any]) -> None:
    letter = read(LETTERS, "", enveloped(created()), headers, b"")
    assert letter.service == SERVICE or letter.queue == "7"
    assert letter.reason
    assert letter.fingerprint


def test_failures_of_one_kind_have_one_fingerprint() -> None:
    def fingerprint(reason: str, queue: str = "a.b", code: str = "x") -> str:
        now = datetime.now(UTC).isoformat()
        known = {"gave_up": "y", "error_class": "permanent", "error_code": code, "error": reason, "failed_at": now}
        return read("a.dead-letters", "a", enveloped(created()), {**known, "queue": queue}, b"").fingerprint

    assert fingerprint("no room 17 in 'Casa Azul'") == fingerprint("No room 204 in 'Casa Roja'")
    assert fingerprint("no room 17") != fingerprint("no bed 17")
    assert fingerprint("no room 17") != fingerprint("no room 17", queue="a.c")
    assert fingerprint("no room 17") != fingerprint("no room 17", code="z")


async def test_a_copy_of_a_dead_letter_is_stored_once(kept: Worker) -> None:
    (letter,) = await die(kept, 1)
    keeper = Keeper(kept.database)
    envelope = enveloped(created())
    copies = [read(LETTERS, SERVICE, envelope, letter["headers"], b"{}") for _ in range(5)]
    await asyncio.gather(*(keeper.keep(copy) for copy in copies))
    assert len(await letters(kept)) == 2


async def replayed(worker: Worker, selection: Selection, rate: int = 50) -> dict[str, Any]:
    """Start a replay, and step until it has ended."""
    async with worker.database.transaction() as tx:
        number, _ = await desk.replay(tx, selection, rate, "tests")
    replayer = Replayer(worker.database, {SERVICE: SCHEMA})

    async def ended() -> bool:
        await worker.database.fetchrow(
            "update replays set sent_at = sent_at - interval '1 second' where id = $1", number
        )
        await replayer.step()
        (row,) = await worker.rows("select state from replays where id = $1", number)
        return bool(row["state"] != "running")

    await eventually(ended, 30)
    async with worker.database.transaction() as tx:
        (row,) = await desk.replays(tx, None, number)
    return dict(row)


async def test_a_replay_goes_through_once_the_cause_is_gone(kept: Worker) -> None:
    await die(kept, *range(1, 31))
    ended = await replayed(kept, Selection(fingerprint=(await letters(kept))[0]["fingerprint"]))
    assert (ended["state"], ended["done"], ended["failed_again"], ended["total"]) == ("finished", 30, 0, 30)
    assert sorted(row["reservation_id"] for row in await kept.rows("select * from notes")) == list(range(1, 31))
    assert {letter["state"] for letter in await letters(kept)} == {"done"}


async def test_a_replay_reaches_the_queue_that_failed_and_no_other(kept: Worker) -> None:
    await die(kept, 1)
    performed = len(kept.probe.performed)
    await replayed(kept, Selection())
    assert len(kept.probe.performed) == performed == 1


async def test_a_replay_stops_by_itself_after_the_first_one_that_fails_again(kept: Worker) -> None:
    await die(kept, *range(1, 31))

    def refuse(_: object) -> None:
        raise Credentials("the account is closed")

    kept.probe.on_note = refuse
    ended = await replayed(kept, Selection())
    assert (ended["state"], ended["failed_again"], ended["queued"]) == ("stopped", 1, 0)
    states = [letter["state"] for letter in await until_stored(kept, 31)]
    assert sorted(states) == sorted(["failed_again"] + ["open"] * 30)  # the one that failed again is a new one


async def test_a_second_replay_takes_nothing_that_the_first_one_holds(kept: Worker) -> None:
    await die(kept, 1, 2)
    async with kept.database.transaction() as tx:
        await desk.replay(tx, Selection(), 10, "tests")
    with pytest.raises(desk.DeskError, match="nothing that is open"):
        async with kept.database.transaction() as tx:
            await desk.replay(tx, Selection(), 10, "tests")
    assert len(await kept.rows("select * from replays")) == 1


async def test_a_stopped_replay_gives_back_what_it_has_not_sent(kept: Worker) -> None:
    await die(kept, 1, 2)
    async with kept.database.transaction() as tx:
        number, _ = await desk.replay(tx, Selection(), 10, "tests")
        assert await desk.stop(tx, None, number, "tests", "wrong ones") == 2
        with pytest.raises(desk.DeskError, match="ended already"):
            await desk.stop(tx, None, number, "tests", "again")
    assert {letter["state"] for letter in await letters(kept)} == {"open"}


async def test_an_edit_is_checked_and_its_difference_kept(kept: Worker) -> None:
    (letter,) = await die(kept, 1)
    body = json.loads(letter["body"])
    async with kept.database.transaction() as tx:
        with pytest.raises(desk.NotValidError, match="amount"):
            await desk.edit(tx, None, letter["id"], {**body, "amount": "much"}, "tests")
        with pytest.raises(desk.NotValidError, match="stays with"):
            await desk.edit(tx, None, letter["id"], {**body, "reservation_id": 2}, "tests")
        changed = await desk.edit(tx, None, letter["id"], {**body, "guest_name": "Eva"}, "tests")
    assert changed == {"guest_name": {"before": "Ana", "after": "Eva"}}
    names: list[str] = []
    kept.probe.on_note = lambda event: names.append(event.guest_name)
    assert (await replayed(kept, Selection(ids=[letter["id"]])))["done"] == 1
    assert names == ["Eva"]
    async with kept.database.transaction() as tx:
        history = await desk.one(tx, None, letter["id"])
    assert [entry["action"] for entry in history.log] == ["edit", "replay", "finished"]


async def test_discarded_ones_are_out_of_the_way_with_their_reason(kept: Worker) -> None:
    await die(kept, 1, 2)
    async with kept.database.transaction() as tx:
        with pytest.raises(desk.DeskError, match="reason"):
            await desk.discard(tx, Selection(), " ", "tests")
        assert await desk.discard(tx, Selection(), "the guests left", "tests") == 2
        assert (await desk.find(tx, Selection(state="open"), 1, 50)).total == 0
    log = await kept.rows("select * from dead_letter_log where action = 'discard'")
    assert [entry["detail"]["reason"] for entry in log] == ["the guests left"] * 2


async def test_settled_ones_lose_their_content_after_seven_days_and_open_ones_never(kept: Worker) -> None:
    await die(kept, 1, 2)
    async with kept.database.transaction() as tx:
        await desk.discard(tx, Selection(ids=[(await letters(kept))[0]["id"]]), "done by hand", "tests")
    await kept.database.fetchrow(
        "update dead_letters set settled_at = settled_at - interval '8 days', failed_at = now() - interval '90 days'"
    )
    await Replayer(kept.database, {SERVICE: SCHEMA}).clean()
    found = {letter["state"]: letter["body"] for letter in await letters(kept)}
    assert found["expired"] is None
    assert found["open"]


async def test_groups_tell_how_many_and_when(kept: Worker) -> None:
    await die(kept, 1, 2, 3)
    async with kept.database.transaction() as tx:
        found = await desk.groups(tx, Selection(state="open"), 1, 50)
        text = await desk.find(tx, Selection(text="casa azul"), 1, 2)
        nothing = await desk.find(tx, Selection(text="casa%azul"), 1, 2)
    assert [(row["count"], row["subscriber"]) for row in found.rows] == [(3, f"{SERVICE}.note")]
    assert (text.total, len(text.rows), nothing.total) == (3, 2, 0)


NOW = timedelta(0)


@pytest.mark.parametrize(
    ("counts", "waited", "expected"),
    [
        (Counts(47, 0, 0, 0, 0), NOW, Send(1)),
        (Counts(46, 1, 0, 0, 0), NOW, Wait()),
        (Counts(46, 0, 1, 0, 0), NOW, Send(10)),
        (Counts(46, 0, 0, 1, 1), NOW, End("1 of the last 1 failed again")),
        (Counts(36, 4, 7, 0, 0), NOW, Wait()),
        (Counts(36, 0, 9, 2, 2), NOW, Send(50)),
        (Counts(36, 0, 8, 3, 3), NOW, End("3 of the last 11 failed again")),
        (Counts(1000, 40, 60, 5, 5), NOW, Send(50)),
        (Counts(1000, 40, 60, 20, 20), NOW, End("20 of the last 50 failed again")),
        (Counts(1000, 40, 9000, 11, 11), NOW, End("11 of the last 50 failed again")),
        (Counts(1000, 40, 9000, 500, 10), NOW, Send(50)),
        (Counts(1000, 40, 60, 5, 5), timedelta(seconds=1.1), Send(55)),
        (Counts(1000, 40, 60, 5, 5), timedelta(seconds=30), Send(100)),
        (Counts(0, 5, 42, 0, 0), NOW, Wait()),
        (Counts(0, 0, 47, 0, 0), NOW, End()),
        (Counts(0, 5, 42, 0, 0), NO_OUTCOME * 2, End()),
        (Counts(0, 0, 1, 0, 0), NOW, End()),
    ],
)
def test_the_next_step_of_a_replay(counts: Counts, waited: timedelta, expected: Send | Wait | End) -> None:
    assert plan(counts, 50, waited) == expected


def test_a_step_without_outcome_stops_the_replay() -> None:
    assert isinstance(plan(Counts(46, 1, 0, 0, 0), 50, NO_OUTCOME * 2), End)


async def test_while_the_database_is_away_a_dead_letter_waits_instead_of_going_back_and_forth(worker: Worker) -> None:
    """A queue has its limit of redeliveries, and nothing is behind the last one."""
    away = Away(worker.database.engine, worker.database.schema)
    letter = read(LETTERS, "", enveloped(created()), {}, b"{}")
    keeping = asyncio.create_task(Keeper(away).keep(letter))
    await eventually(lambda: away.refused >= 2)
    assert not keeping.done()
    away.back = True
    await keeping
    assert [row["message_id"] for row in await letters(worker)] == [letter.envelope.id]


class Away(Database):
    """A database that cannot be reached until it is `back`."""

    back = False
    refused = 0

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Transaction]:
        if not self.back:
            self.refused += 1
            raise ConnectionRefusedError
        async with super().connection() as connection:
            yield connection

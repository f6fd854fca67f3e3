"""A list says how long it is on every page, also behind its last; and what happened at once stands on one page only."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
import pytest_asyncio

from llegada.messaging.transaction import Database

Reservation = Callable[[], Awaitable[int]]

_ROWS = """
insert into guest_messages (organization_id, provider_message_id, phone, name, body, at)
values (1, 'wamid.1', '+573001234567', 'Ana', 'hola', now());
insert into sire_rows (organization_id, key, reservation_id, movement, intent, moved_on, line, due_at)
values (1, 'k', 1, 'entry', 1, current_date, 'line', now());
insert into sire_files (organization_id, number, day, created_by) values (1, 1, current_date, 'x')
"""
_AT_ONCE = """
insert into timeline (organization_id, reservation_id, event_id, type, source, happened_at, summary)
select 1, $1, gen_random_uuid(), 'payment.link_created', 't', '2026-01-01T12:00Z', jsonb_build_object('intent', n)
from generate_series(1, 40) as n order by random()
"""


@pytest_asyncio.fixture
async def one_of_each(client: httpx.AsyncClient, database: Database) -> None:
    """One row in every list."""
    new = {"name": "Erika", "email": "e@hostal.test", "position": "Beraterin", "startsOn": "2020-01-01"}
    user = (await client.post("/api/users", json=new)).json()["data"]["id"]
    billing = {"enabled": True, "recipient": "Buchhaltung"}
    await client.put(f"/api/users/{user}/statement-settings", json=billing)
    work = {"externalId": "w", "userId": user, "clientId": "c", "clientName": "C", "date": "2026-01-10", "minutes": 9}
    await client.post("/api/work-times", json={"workTimes": [work]})
    (ordered,) = (await client.post("/api/statements/run", json={"month": "2026-01"})).json()["data"]
    assert ordered["outcome"] == "requested"
    await client.post("/api/tasks", json={"title": "a", "role": "b"})
    async with database.transaction() as tx:
        await tx.execute(_ROWS)


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize(
    "path",
    [
        "/api/tasks",
        "/api/users",
        "/api/messages",
        "/api/statements",
        "/api/statements/runs",
        "/api/work-times",
        "/api/sire/rows",
        "/api/sire/files",
    ],
)
async def test_a_page_behind_the_last_says_how_many_there_are(client: httpx.AsyncClient, path: str) -> None:
    lengths = []
    for page in (1, 2, 7):
        answer = (await client.get(path, params={"page": page})).json()
        lengths.append((len(answer["data"]), answer["meta"]["total"]))
    assert lengths == [(1, 1), (0, 1), (0, 1)]


async def test_an_empty_list_has_no_length(client: httpx.AsyncClient) -> None:
    answers = [(await client.get("/api/tasks", params={"page": page})).json() for page in (1, 2)]
    assert [answer["meta"]["total"] for answer in answers] == [0, 0]


async def test_what_happened_at_once_is_on_one_page_of_the_timeline(
    client: httpx.AsyncClient, database: Database, reservation: Reservation
) -> None:
    number = await reservation()
    async with database.transaction() as tx:
        await tx.execute(_AT_ONCE, number)
    entries = []
    for page in range(1, 16):
        where = {"page": page, "pageSize": 3}
        entries += (await client.get(f"/api/reservations/{number}/timeline", params=where)).json()["data"]
    intents = [entry["summary"]["intent"] for entry in entries if entry["type"] == "payment.link_created"]
    assert sorted(intents) == list(range(1, 41))

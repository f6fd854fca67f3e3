"""Statements are ordered exactly once, numbered without gaps, kept in editions, and downloaded as they were made."""

import asyncio
import hashlib
import itertools
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from llegada.events.event import Event
from llegada.events.file import File
from llegada.events.job import JobFailed
from llegada.events.statement import StatementMailed, StatementMailRequested, StatementReady, StatementRequested
from llegada.messaging.envelope import Envelope, Lane, first
from llegada.messaging.subscription import Delivered
from llegada.messaging.transaction import Database
from reservation_api.statements.clock import order_statements
from reservation_api.statements.periods import Period, due, of_month, over
from reservation_api.timeline.projection import Projection

ZONE = ZoneInfo("America/Bogota")
TODAY = datetime.now(ZONE).date()
PERIOD = over(TODAY, 25)


async def person(client: httpx.AsyncClient, name: str = "Erika", **billing: Any) -> int:
    new = {"name": name, "email": f"{name.lower()}@hostal.test", "position": "Beraterin", "startsOn": "2026-01-01"}
    made = await client.post("/api/users", json=new)
    assert made.status_code == 201, made.text
    number: int = made.json()["data"]["id"]
    settings = {"enabled": True, "recipient": "Buchhaltung", "hourlyRate": 15000, **billing}
    answer = await client.put(f"/api/users/{number}/statement-settings", json=settings)
    assert answer.status_code == 200, answer.text
    return number


def work(user: int, external: str, **changes: Any) -> dict[str, Any]:
    known = {"externalId": external, "userId": user, "clientId": "c1", "clientName": "Alpha AG", "minutes": 90}
    return {**known, "date": str(PERIOD.start + timedelta(days=3)), "kind": "consultation", **changes}


async def take_in(client: httpx.AsyncClient, *times: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/api/work-times", json={"workTimes": times})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def run(client: httpx.AsyncClient, **wanted: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/statements/run", json=wanted)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def requested(database: Database) -> list[tuple[str, StatementRequested]]:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "select message_id, body from outbox where type = 'statement.requested' order by id"
        )
    return [(str(row["message_id"]), StatementRequested.model_validate_json(row["body"])) for row in rows]


async def project(database: Database, event: Event, causation: str | None = None) -> StatementMailRequested | None:
    """What it causes."""
    envelope = first(event, source="tests", correlation_id="1", lane=Lane.BULK, traceparent=None)
    if causation is not None:
        envelope = Envelope(**{**envelope.__dict__, "causation_id": causation})
    async with database.transaction() as tx:
        [caused] = await Projection().project([Delivered(event, envelope)], tx)
    return caused


def ready(event: StatementRequested, content: bytes = b"%PDF-1.7 statement") -> StatementReady:
    line = {"client_id": "c1", "client_name": "Alpha AG", "minutes": 90, "consultations": 1, "amount": 22500}
    known = {"statement_id": event.statement_id, "edition": event.edition, "number": event.number}
    told = {"lines": [line], "minutes": 90, "consultations": 1, "amount": 22500, "currency": "CHF"}
    file = File.of(f"{event.number}.pdf", content, 1)
    return StatementReady.model_validate({"organization_id": event.organization_id, **known, **told, "file": file})


def pdf_failed(event: StatementRequested) -> JobFailed:
    known = {"organization_id": 1, "job": "backoffice-worker.write-statement", "cause_type": event.type}
    more = {"attempt": 1, "attempts": 3, "error_class": "permanent"}
    return JobFailed.model_validate({**known, **more, "reason": "no letter for U+6F22"})


def mailed(order: StatementMailRequested) -> StatementMailed:
    names = {"organization_id", "statement_id", "edition", "number", "intent", "recipient"}
    told = {**order.model_dump(include=names), "provider_message_id": "m", "sent_at": datetime.now(UTC)}
    return StatementMailed.model_validate(told)


async def mails(database: Database) -> list[StatementMailRequested]:
    """What was ordered by hand."""
    async with database.connection() as connection:
        rows = await connection.fetch("select body from outbox where type = 'statement.mail_requested' order by id")
    return [StatementMailRequested.model_validate_json(row["body"]) for row in rows]


async def generated(client: httpx.AsyncClient, database: Database, **billing: Any) -> int:
    user = await person(client, **billing)
    await take_in(client, work(user, "w1"))
    [result] = await run(client)
    [(_, event)] = await requested(database)
    await project(database, ready(event))
    statement: int = result["statementId"]
    return statement


async def test_an_import_may_be_repeated_and_what_is_billed_stays_as_it_is(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await person(client)
    first_time = await take_in(client, work(user, "w1"), work(user, "w2"))
    assert first_time == {"created": 2, "updated": 0, "unchanged": 0, "billed": []}
    again = await take_in(client, work(user, "w1"), work(user, "w2", minutes=30))
    assert again == {"created": 0, "updated": 1, "unchanged": 1, "billed": []}
    await run(client)
    late = await take_in(client, work(user, "w1"), work(user, "w2", minutes=60))
    assert late == {"created": 0, "updated": 0, "unchanged": 1, "billed": ["w2"]}
    [(_, event)] = await requested(database)
    assert sorted(entry.minutes for entry in event.entries) == [30, 90]
    listed = (await client.get("/api/work-times", params={"billed": True})).json()
    assert listed["meta"]["total"] == 2


async def test_a_clients_name_is_mended_where_the_statement_has_failed(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await person(client)
    await take_in(client, work(user, "w1", clientName="漢"), work(user, "w2", clientName="漢"))
    [result] = await run(client)
    mended = work(user, "w1", clientName="Han"), work(user, "w2", clientName="Han", minutes=5)
    assert (await take_in(client, *mended))["billed"] == ["w1", "w2"], "it may still be printed"
    [(message_id, event)] = await requested(database)
    await project(database, pdf_failed(event), message_id)
    assert await take_in(client, *mended) == {"created": 0, "updated": 1, "unchanged": 0, "billed": ["w2"]}
    assert (await take_in(client, work(user, "w2", clientName="Han")))["updated"] == 1
    assert (await client.post(f"/api/statements/{result['statementId']}/regenerate")).status_code == 200
    _, (_, again) = await requested(database)
    assert [(entry.client_name, entry.minutes) for entry in again.entries] == [("Han", 90), ("Han", 90)]


async def test_an_import_is_all_or_none(client: httpx.AsyncClient) -> None:
    user = await person(client)
    answer = await client.post("/api/work-times", json={"workTimes": [work(user, "w1"), work(user + 99, "w2")]})
    assert answer.status_code == 422
    assert str(user + 99) in answer.json()["detail"]
    assert (await client.get("/api/work-times")).json()["meta"]["total"] == 0


async def test_imports_and_runs_at_the_same_time_neither_lock_each_other_out_nor_change_what_is_billed(
    client: httpx.AsyncClient, database: Database
) -> None:
    users = [await person(client, f"P{n}") for n in range(3)]
    times = [work(user, f"w{9 - n}-{user}") for user in users for n in range(10)]
    await take_in(client, *times)
    changed = [{**entry, "minutes": 7} for entry in reversed(times)]
    imports = [client.post("/api/work-times", json={"workTimes": part}) for part in (changed, times, changed)]
    answers = await asyncio.gather(*imports, *(client.post("/api/statements/run", json={}) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    ordered = {entry.minutes for _, event in await requested(database) for entry in event.entries}
    assert ordered <= {7, 90}
    listed = (await client.get("/api/work-times", params={"pageSize": 200})).json()["data"]
    told = sorted(entry.minutes for _, event in await requested(database) for entry in event.entries)
    assert sorted(entry["minutes"] for entry in listed) == told, "what was billed is what is stored"


async def test_two_thousand_work_times_fit_into_one_import(client: httpx.AsyncClient) -> None:
    user = await person(client)
    assert (await take_in(client, *[work(user, f"w{n}") for n in range(2000)]))["created"] == 2000


async def test_a_hundred_runs_at_once_order_each_statement_once_and_number_it_without_gaps(
    client: httpx.AsyncClient, database: Database
) -> None:
    users = [await person(client, f"P{n}") for n in range(5)]
    for user in users:
        await take_in(client, work(user, f"w{user}"))
    answers = await asyncio.gather(*(run(client) for _ in range(20)))
    assert sum(result["outcome"] == "requested" for answer in answers for result in answer) == 5
    numbers = sorted(event.number for _, event in await requested(database))
    assert numbers == [f"MR-{PERIOD.month:%Y%m}-{n:03}" for n in range(1, 6)]


async def test_the_clock_orders_once_however_many_replicas_look_and_catches_up(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await person(client, day=25)
    await person(client, "Otto", enabled=False)
    await take_in(client, work(user, "w1"))
    at = datetime.combine(PERIOD.runs_on, datetime.min.time(), ZONE) + timedelta(hours=9)
    assert await order_statements(database, at - timedelta(minutes=1)) == 0
    late = at + timedelta(days=6)
    assert sum(await asyncio.gather(*(order_statements(database, late) for _ in range(8)))) == 1
    assert await order_statements(database, late) == 0
    assert len(await requested(database)) == 1


async def test_one_persons_bad_data_hold_up_nobody_elses_statement(
    client: httpx.AsyncClient, database: Database
) -> None:
    bad, good = await person(client, "Bad"), await person(client, "Good")
    for user in (bad, good):
        await take_in(client, work(user, f"w{user}"))
    async with database.connection() as connection:
        broken = json.dumps({"enabled": True, "day": 25, "currency": "XXX"})
        await connection.execute("update users set billing = $2 where id = $1", bad, broken)
    at = datetime.combine(PERIOD.runs_on, datetime.min.time(), ZONE) + timedelta(hours=10)
    assert await order_statements(database, at) == 1
    [(_, event)] = await requested(database)
    assert event.consultant == "Good"


async def test_nothing_to_bill_makes_no_statement_and_says_so_and_may_be_run_again(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await person(client)
    await take_in(client, work(user, "w1", clientId=None, clientName=None))
    assert [result["outcome"] for result in await run(client)] == ["nothing_to_bill"]
    assert (await client.get("/api/statements")).json()["meta"]["total"] == 0
    [listed] = (await client.get("/api/statements/runs")).json()["data"]
    assert (listed["outcome"], listed["statementId"]) == ("nothing_to_bill", None)
    await take_in(client, work(user, "w2"))
    assert [result["outcome"] for result in await run(client, userId=user)] == ["requested"]
    assert [result["outcome"] for result in await run(client, userId=user)] == ["exists"]
    assert len(await requested(database)) == 1


async def test_a_month_that_is_not_over_is_refused(client: httpx.AsyncClient) -> None:
    await person(client)
    ahead = {"month": f"{TODAY + timedelta(days=70):%Y-%m}"}
    assert (await client.post("/api/statements/run", json=ahead)).status_code == 422


async def test_a_statement_is_downloaded_with_its_checksum(client: httpx.AsyncClient, database: Database) -> None:
    user = await person(client)
    await take_in(client, work(user, "w1"))
    [result] = await run(client)
    path = f"/api/statements/{result['statementId']}"
    assert (await client.get(f"{path}/pdf")).status_code == 409
    [(_, event)] = await requested(database)
    for _ in range(2):
        await project(database, ready(event))
    shown = (await client.get(path)).json()["data"]
    assert (shown["status"], shown["totalAmount"], shown["lines"][0]["consultationCount"]) == ("generated", 22500, 1)
    answer = await client.get(f"{path}/pdf")
    digest = hashlib.sha256(answer.content).digest()
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["repr-digest"] == f"sha-256=:{b64encode(digest).decode()}:"
    assert answer.headers["etag"] == f'"{digest.hex()}"' == f'"{shown["sha256"]}"'
    again = await client.get(f"{path}/pdf", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_made_anew_it_has_its_number_and_the_old_edition_stays(
    client: httpx.AsyncClient, database: Database
) -> None:
    statement = await generated(client, database)
    await take_in(client, work(1, "w2", minutes=10))
    answer = await client.post(f"/api/statements/{statement}/regenerate")
    assert answer.status_code == 200, answer.text
    shown = answer.json()["data"]
    assert (shown["edition"], shown["status"], len(shown["editions"])) == (2, "requested", 2)
    _, (_, event) = await requested(database)
    assert [entry.minutes for entry in event.entries] == [90, 10]
    await project(database, ready(event, b"%PDF-1.7 second"))
    assert (await client.get(f"/api/statements/{statement}/pdf")).content == b"%PDF-1.7 second"
    old = await client.get(f"/api/statements/{statement}/pdf", params={"edition": 1})
    assert old.content == b"%PDF-1.7 statement"


async def test_a_late_word_of_an_older_edition_changes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    statement = await generated(client, database)
    await client.post(f"/api/statements/{statement}/regenerate")
    (_, old), _ = await requested(database)
    await project(database, ready(old))
    assert (await client.get(f"/api/statements/{statement}")).json()["data"]["status"] == "requested"


async def test_a_failed_pdf_says_why_and_a_replay_mends_it(client: httpx.AsyncClient, database: Database) -> None:
    user = await person(client)
    await take_in(client, work(user, "w1"))
    [result] = await run(client)
    [(message_id, event)] = await requested(database)
    failed = pdf_failed(event)
    await project(database, failed, message_id)
    shown = (await client.get(f"/api/statements/{result['statementId']}")).json()["data"]
    assert (shown["status"], shown["reason"]) == ("failed", "no letter for U+6F22")
    assert (await client.get(f"/api/statements/{result['statementId']}/pdf")).status_code == 409
    await project(database, ready(event))
    await project(database, failed, message_id)
    assert (await client.get(f"/api/statements/{result['statementId']}")).json()["data"]["status"] == "generated"


async def test_it_is_sent_once_the_mail_server_took_it_and_then_archived(
    client: httpx.AsyncClient, database: Database
) -> None:
    statement = await generated(client, database, recipientEmail="rechnung@example.ch")
    path = f"/api/statements/{statement}"
    assert (await client.post(f"{path}/send")).status_code == 200
    [order] = await mails(database)
    assert (order.recipient, order.file.read()) == ("rechnung@example.ch", b"%PDF-1.7 statement")
    assert (await client.get(path)).json()["data"]["status"] == "generated"
    await project(database, mailed(order))
    assert (await client.get(path)).json()["data"]["status"] == "sent"
    assert (await client.patch(path, json={"status": "archived"})).status_code == 200
    assert (await client.patch(path, json={"status": "sent"})).status_code == 409
    assert (await client.post(f"{path}/regenerate")).status_code == 409


def mail_failed(order: StatementMailRequested) -> JobFailed:
    known = {"organization_id": 1, "job": "notification-worker.send-statement", "cause_type": order.type}
    more = {"cause_item": order.item, "attempt": 1, "attempts": 8, "error_class": "permanent", "advice": "Mend it."}
    return JobFailed.model_validate({**known, **more, "reason": "550 no such mailbox"})


async def test_while_its_mail_is_on_its_way_it_is_not_sent_again(client: httpx.AsyncClient, database: Database) -> None:
    user = await person(client, recipientEmail="rechnung@example.ch", autoSend=True)
    await take_in(client, work(user, "w1"))
    [result] = await run(client)
    [(_, event)] = await requested(database)
    mail = await project(database, ready(event))
    assert mail is not None
    path = f"/api/statements/{result['statementId']}"
    assert (await client.get(path)).json()["data"]["mailState"] == "waiting"
    refused = await client.post(f"{path}/send")
    assert (refused.status_code, "on its way by e-mail" in refused.json()["detail"]) == (409, True)
    await project(database, mailed(mail))
    assert (await client.get(path)).json()["data"]["mailState"] == "sent"
    again = await asyncio.gather(*(client.post(f"{path}/send") for _ in range(3)))
    assert sorted(answer.status_code for answer in again) == [200, 409, 409]
    assert [order.intent for order in await mails(database)] == [2]


async def test_a_mail_that_failed_says_why_and_may_be_sent_again(client: httpx.AsyncClient, database: Database) -> None:
    path = f"/api/statements/{await generated(client, database, recipientEmail='rechnung@example.ch')}"

    async def mail() -> tuple[str, str | None, str | None]:
        shown = (await client.get(path)).json()["data"]
        return shown["mailState"], shown["mailReason"], shown["mailAdvice"]

    await client.post(f"{path}/send")
    [first_order] = await mails(database)
    await project(database, mail_failed(first_order))
    assert await mail() == ("failed", "550 no such mailbox", "Mend it.")
    assert (await client.post(f"{path}/send")).status_code == 200
    assert await mail() == ("waiting", None, None)
    _, second_order = await mails(database)
    await project(database, mail_failed(first_order))
    assert await mail() == ("waiting", None, None), "a late word of the first mail"
    await project(database, mailed(second_order))
    await project(database, mail_failed(second_order))
    assert await mail() == ("sent", None, None), "after a replay, told in another order"


async def test_a_late_mail_of_an_older_edition_does_not_send_the_new_one(
    client: httpx.AsyncClient, database: Database
) -> None:
    statement = await generated(client, database, recipientEmail="rechnung@example.ch")
    path = f"/api/statements/{statement}"
    await client.post(f"{path}/send")
    await client.post(f"{path}/regenerate")
    _, (_, second) = await requested(database)
    await project(database, ready(second))
    [late] = await mails(database)
    await project(database, mailed(late))
    shown = (await client.get(path)).json()["data"]
    assert (shown["edition"], shown["status"], shown["sentTo"], shown["sentAt"]) == (2, "generated", None, None)
    assert shown["mailState"] is None
    await project(database, mail_failed(late))
    assert (await client.get(path)).json()["data"]["mailState"] is None
    assert (await client.post(f"{path}/send")).status_code == 200


async def test_it_leaves_by_itself_once_where_the_settings_say_so(
    client: httpx.AsyncClient, database: Database
) -> None:
    user = await person(client, recipientEmail="rechnung@example.ch", autoSend=True, language="en")
    await take_in(client, work(user, "w1"))
    [result] = await run(client)
    [(_, event)] = await requested(database)
    mail = await project(database, ready(event))
    assert mail is not None
    assert (mail.recipient, mail.intent, mail.edition, mail.language) == ("rechnung@example.ch", 1, 1, "en")
    assert (mail.consultant, mail.issuer, mail.period_start) == ("Erika", "Hostal", event.period_start)
    assert mail.file == ready(event).file
    assert await project(database, ready(event)) is None, "told twice, sent once"
    path = f"/api/statements/{result['statementId']}"
    assert (await client.post(f"{path}/regenerate")).status_code == 200
    [_, (_, second)] = await requested(database)
    assert await project(database, ready(second)) is None, "what is made anew is sent by hand"
    assert (await client.post(f"{path}/send")).status_code == 200
    [by_hand] = await mails(database)
    assert (by_hand.intent, by_hand.edition) == (2, 2)


async def test_nothing_leaves_by_itself_without_the_setting(client: httpx.AsyncClient, database: Database) -> None:
    user = await person(client, recipientEmail="rechnung@example.ch")
    await take_in(client, work(user, "w1"))
    await run(client)
    [(_, event)] = await requested(database)
    assert await project(database, ready(event)) is None
    settings = {"enabled": True, "recipient": "Buchhaltung", "autoSend": True}
    refused = await client.put(f"/api/users/{user}/statement-settings", json=settings)
    assert refused.status_code == 422
    assert "recipientEmail" in refused.json()["detail"]


async def test_a_document_in_a_store_is_kept_by_reference(client: httpx.AsyncClient, database: Database) -> None:
    user = await person(client, recipientEmail="rechnung@example.ch")
    await take_in(client, work(user, "w1"))
    [result] = await run(client)
    [(_, event)] = await requested(database)
    told = ready(event)
    await project(database, told.model_copy(update={"file": told.file.moved_to("1/statement/1/1/a.pdf")}))
    path = f"/api/statements/{result['statementId']}"
    answer = await client.get(f"{path}/pdf")
    assert answer.status_code == 503
    assert "cannot be read now" in answer.json()["detail"]
    known = await client.get(f"{path}/pdf", headers={"If-None-Match": f'"{told.file.sha256}"'})
    assert known.status_code == 304
    assert (await client.post(f"{path}/send")).status_code == 200
    [order] = await mails(database)
    assert (order.file.stored_at, order.file.content) == ("1/statement/1/1/a.pdf", "")
    assert order.file.sha256 == told.file.sha256


async def test_an_address_is_stored_as_an_address(client: httpx.AsyncClient) -> None:
    user = await person(client, recipientEmail=" boss@client.test\n")
    stored = (await client.get(f"/api/users/{user}/statement-settings")).json()["data"]
    assert stored["recipientEmail"] == "boss@client.test"


async def test_an_organization_without_settings_is_told_what_to_do(
    client: httpx.AsyncClient, token: Callable[..., str]
) -> None:
    headers = {"Authorization": f"Bearer {token(organization=9)}"}
    answer = await client.post("/api/statements/run", json={}, headers=headers)
    assert answer.status_code == 409
    assert "/api/organizations/9/settings" in answer.json()["detail"]


async def test_without_an_address_it_is_not_sent(client: httpx.AsyncClient, database: Database) -> None:
    statement = await generated(client, database)
    assert (await client.post(f"/api/statements/{statement}/send")).status_code == 422


async def test_staff_see_their_own_statements_and_strangers_none(
    client: httpx.AsyncClient, database: Database, token: Callable[..., str]
) -> None:
    statement = await generated(client, database)

    async def status(**claims: Any) -> tuple[int, int]:
        headers = {"Authorization": f"Bearer {token(**claims)}"}
        listed = (await client.get("/api/statements", headers=headers)).json()["meta"]["total"]
        return (await client.get(f"/api/statements/{statement}/pdf", headers=headers)).status_code, listed

    assert await status(roles=["staff"], sub="erika@hostal.test") == (200, 1)
    assert await status(roles=["staff"], sub="otto@hostal.test") == (404, 0)
    assert await status(organization=2) == (404, 0)
    denied = {"Authorization": f"Bearer {token(roles=['staff'])}"}
    assert (await client.post("/api/statements/run", headers=denied)).status_code == 403


@pytest.mark.parametrize(
    ("today", "day", "start", "end"),
    [
        ("2026-11-25", 25, "2026-10-25", "2026-11-24"),
        ("2026-11-24", 25, "2026-09-25", "2026-10-24"),
        ("2026-12-01", 1, "2026-11-01", "2026-11-30"),
        ("2026-03-15", 31, "2026-01-31", "2026-02-27"),
        ("2026-03-31", 31, "2026-02-28", "2026-03-30"),
        ("2026-01-10", 5, "2025-12-05", "2026-01-04"),
    ],
)
def test_the_period_is_the_month_until_the_day_before(today: str, day: int, start: str, end: str) -> None:
    assert over(date.fromisoformat(today), day) == Period(date.fromisoformat(start), date.fromisoformat(end))


@pytest.mark.parametrize("day", [1, 15, 25, 29, 30, 31])
def test_periods_meet_without_gap_and_each_has_a_month_of_its_own(day: int) -> None:
    periods = [of_month(date(2026 + n // 12, n % 12 + 1, 1), day) for n in range(36)]
    for before, after in itertools.pairwise(periods):
        assert after.start == before.end + timedelta(days=1)
    assert len({period.month for period in periods}) == len(periods)


def test_a_run_is_due_from_nine_local_time_for_a_week() -> None:
    at = datetime(2026, 11, 25, 9, tzinfo=ZONE)
    assert due(at - timedelta(seconds=1), ZONE, 25) is None
    assert due(at, ZONE, 25) == due(at + timedelta(days=6, hours=23), ZONE, 25) is not None
    assert due(at + timedelta(days=7), ZONE, 25) is None

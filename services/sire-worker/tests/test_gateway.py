"""Registration by an organization's own gateway: once, and where nobody knows, a person decides."""

from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from pydantic import HttpUrl, SecretStr
from starlette.applications import Starlette

from llegada.events.organization import OrganizationConfigured
from llegada.events.sire import SireRegistered, SireRegistrationRequested, SireResultRecorded, SireSubmissionReady
from llegada.messaging.effects import AskStaff, Attempt, Found, NotWanted
from llegada.messaging.failures import Credentials, Failure, OutcomeUnknown, Permanent, RateLimited, Transient
from llegada.messaging.transaction import Database
from llegada.runtime.http import ProviderClient
from llegada.testing.plugin import ServiceDatabase
from provider_sandbox.effects import Effects
from provider_sandbox.faults import Faults
from provider_sandbox.sire import Sire
from sire_worker.gateway import Account, Gateway
from sire_worker.handlers import Registrations
from sire_worker.store import Store
from sire_worker.submission import Submission

TODAY = datetime.now(UTC).date()
GUEST = {
    "nationality": "DE",
    "document_type": "passport",
    "document_number": "C01X00T47",
    "first_surname": "Muster",
    "first_names": "Erika",
    "birth_date": date(1990, 2, 1),
}
CHILD = {**GUEST, "document_number": "C2", "first_names": "Kim", "birth_date": TODAY - timedelta(days=400)}
ATTEMPT = Attempt(1, "reservation-17-sire-1-1", datetime.now(UTC))


class World:
    """The worker, and a sandboxed gateway that it reaches without a network; `lose`: the next answers get lost."""

    def __init__(self, database: Database) -> None:
        self.database, self.effects, self.lose = database, Effects(), 0
        self.sandbox = Sire(self.effects, Faults())
        self._inner = httpx.ASGITransport(Starlette(routes=self.sandbox.routes()))
        self.http = ProviderClient("sire", "", transport=httpx.MockTransport(self._carry))
        accounts = {1: Account(url=HttpUrl("http://gateway.test/"), token=SecretStr("secret"))}
        self.store = Store(database)
        self.registrations = Registrations(self.store, Gateway(self.http, accounts))

    async def _carry(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        if self.lose:
            self.lose -= 1
            raise httpx.ReadError("lost", request=request)
        return httpx.Response(answer.status_code, content=await answer.aread())

    async def wish(self, intent: int = 1, guests: Any = (GUEST,), organization: int = 1) -> Any:
        event = SireRegistrationRequested.model_validate(
            {
                "organization_id": organization,
                "reservation_id": 17,
                "movement": "entry",
                "intent": intent,
                "property_name": "Hostal",
                "moved_on": TODAY,
                "guests": guests,
            }
        )
        async with self.database.transaction() as tx:
            return await self.registrations.file(event, tx)

    def submission(self, ready: Any) -> Submission:
        assert isinstance(ready, SireSubmissionReady)
        return cast("Submission", self.registrations.submit(ready))

    async def submit(self, ready: Any) -> SireRegistered:
        effect = self.submission(ready)
        assert await effect.still_wanted() is None
        return await effect.perform(ATTEMPT)

    def filed(self) -> list[str]:
        return [effect["document"] for effect in self.effects.find({"provider": "sire"})]

    async def states(self) -> dict[str, str]:
        async with self.database.connection() as connection:
            rows = await connection.fetch("select split_part(key, '|', 2) as document, state from filings")
        return {row["document"]: row["state"] for row in rows}


@pytest_asyncio.fixture
async def world(service_database: ServiceDatabase) -> AsyncGenerator[World]:
    made = World(await service_database("sire_worker"))
    sire = {"hotel_code": "12345", "city_code": "5001", "channel": "gateway"}
    known = {"revision": 1, "name": "Hostal", "time_zone": "America/Bogota", "sire": sire}
    async with made.http:
        async with made.database.transaction() as tx:
            for organization in (1, 2):
                event = OrganizationConfigured.model_validate({"organization_id": organization, **known})
                await made.registrations.remember_organization(event, tx)
        yield made


async def test_guests_are_registered_minors_too(world: World) -> None:
    registered = await world.submit(await world.wish(guests=(GUEST, CHILD)))
    assert (registered.channel, registered.guests, registered.intent) == ("gateway", 2, 1)
    assert sorted(world.filed()) == ["C01X00T47", "C2"]
    assert await world.states() == {"C01X00T47": "accepted", "C2": "accepted"}


async def test_what_the_authority_has_is_not_filed_again(world: World) -> None:
    ready = await world.wish()
    await world.submit(ready)
    await world.submit(ready)
    assert isinstance(await world.wish(2), SireRegistered)
    assert world.filed() == ["C01X00T47"]


async def test_an_unknown_outcome_asks_a_person_and_files_nothing_more(world: World) -> None:
    ready, world.lose = await world.wish(), 1
    with pytest.raises(OutcomeUnknown):
        await world.submit(ready)
    again = world.submission(ready)
    assert await again.still_wanted() is None
    asked = await again.look_up(ATTEMPT)
    assert isinstance(asked, AskStaff)
    assert "Look at the portal" in asked.advice
    assert world.filed() == ["C01X00T47"]
    assert await world.states() == {"C01X00T47": "uncertain"}


async def test_whoever_finds_the_guests_at_the_portal_completes_the_registration(world: World) -> None:
    ready, world.lose = await world.wish(), 1
    with pytest.raises(OutcomeUnknown):
        await world.submit(ready)
    said = {"organization_id": 1, "reservation_id": 17, "movement": "entry", "intent": 1}
    event = SireResultRecorded.model_validate({**said, "file_number": 0, "keys": (), "result": "accepted"})
    async with world.database.transaction() as tx:
        registered = await world.registrations.record(event, tx)
    assert isinstance(registered, SireRegistered)
    assert registered.reference == "looked up at the portal"
    replayed = world.submission(ready)
    assert await replayed.still_wanted() is None
    assert isinstance(await replayed.look_up(ATTEMPT), Found)
    assert world.filed() == ["C01X00T47"]


async def test_whoever_does_not_find_them_registers_again(world: World) -> None:
    world.sandbox.configure({"uncertain": True})
    old = await world.wish()
    with pytest.raises(OutcomeUnknown):
        await world.submit(old)
    world.sandbox.configure({"uncertain": False})
    world.effects.clear()
    await world.submit(await world.wish(2))
    assert world.filed() == ["C01X00T47"]
    assert isinstance(await world.submission(old).still_wanted(), NotWanted)


async def test_who_was_refused_is_named_and_the_others_are_registered(world: World) -> None:
    world.sandbox.configure({"refused_documents": {"C2": "el codigo de nacionalidad no existe"}})
    with pytest.raises(Permanent, match=r"guest \d: el codigo de nacionalidad no existe") as refused:
        await world.submit(await world.wish(guests=(GUEST, CHILD)))
    assert refused.value.advice
    assert await world.states() == {"C01X00T47": "accepted", "C2": "rejected"}
    corrected = {**CHILD, "document_number": "C3"}
    await world.submit(await world.wish(2, guests=(GUEST, corrected)))
    assert world.filed() == ["C01X00T47", "C3"]


async def test_an_organization_without_a_gateway_is_told_where_to_look(world: World) -> None:
    with pytest.raises(Credentials) as refused:
        await world.submit(await world.wish(organization=2))
    assert "file" in (refused.value.advice or "")


OWN_ERROR = {"error": {"code": "portal_down", "message": "the portal is down"}}


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (401, OWN_ERROR, Credentials),
        (404, None, Credentials),
        (429, None, RateLimited),
        (422, OWN_ERROR, Permanent),
        (503, OWN_ERROR, Transient),
        (500, None, OutcomeUnknown),
        (502, {"error": "html"}, OutcomeUnknown),
        (200, {"result": "done"}, OutcomeUnknown),
        (200, {"result": "partial"}, OutcomeUnknown),
        (200, {"result": "partial", "rowErrors": [{"row": 2, "message": "?"}]}, OutcomeUnknown),
    ],
)
async def test_each_answer_is_the_failure_that_it_proves(status: int, body: Any, failure: type[Failure]) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body))
    accounts = {1: Account(url=HttpUrl("http://gateway.test"), token=SecretStr("secret"))}
    async with ProviderClient("sire", "", transport=transport) as http:
        with pytest.raises(failure) as raised:
            await Gateway(http, accounts).register(1, "reference", ["row"])
    assert type(raised.value) is failure


async def test_a_wish_whose_documents_were_corrected_since_reports_nobody(world: World) -> None:
    older = await world.wish()
    newer = await world.wish(2, guests=({**GUEST, "document_number": "C01X00T48"},))
    assert isinstance(await world.submission(older).still_wanted(), NotWanted)
    await world.submit(newer)
    assert world.filed() == ["C01X00T48"]

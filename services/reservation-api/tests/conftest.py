"""The real app on a real database, without a network."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from pydantic import SecretStr

from llegada.events.payment import PaymentLinkCreated
from llegada.events.types import Money, OrganizationId, ReservationId
from llegada.messaging.transaction import Database
from llegada.runtime.service import Resources
from llegada.runtime.settings import RuntimeSettings
from llegada.testing.plugin import EngineAs, ServiceDatabase
from reservation_api.app import create_app
from reservation_api.service import Settings

SECRET = "a-secret-for-tests-that-is-long-enough"
PACKAGE = "reservation_api"

Token = Callable[..., str]


@pytest.fixture
def token() -> Token:
    def make(organization: Any = 1, roles: Any = ("staff", "admin"), secret: str = SECRET, **claims: Any) -> str:
        known = {"sub": "staff@test", "org": organization, "roles": list(roles), "exp": int(time.time()) + 60}
        return jwt.encode({**known, **claims}, secret, algorithm="HS256")

    return make


@pytest_asyncio.fixture
async def database(service_database: ServiceDatabase) -> Database:
    return await service_database(PACKAGE)


@pytest_asyncio.fixture
async def client(
    database: Database, database_url: str, engine_as: EngineAs, token: Token
) -> AsyncGenerator[httpx.AsyncClient]:
    settings = Settings(
        jwt_secret=SecretStr(SECRET),
        frontend_url="https://desk.test",
        whatsapp_verify_token=SecretStr("verify-token-of-the-tests"),
        whatsapp_app_secret=SecretStr("app-secret-of-the-tests"),
        whatsapp_numbers={"100": 1},
        bold_secrets={1: SecretStr("bold-secret-of-the-tests")},
    )
    resources = Resources(
        settings=RuntimeSettings(database_url=SecretStr(database_url), queue_enabled=True),
        database=database,
        engine_as=lambda role: engine_as(PACKAGE, role),
        inline=None,
        schemas={"reservation-api": PACKAGE},
    )
    transport = httpx.ASGITransport(create_app(settings, resources, None), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as made:
        answer = await made.put("/api/organizations/1/settings", json={"name": "Hostal"})
        assert answer.status_code == 200, answer.text
        yield made


@pytest.fixture
def link() -> Callable[..., PaymentLinkCreated]:
    def make(reservation_id: int, intent: int, organization: int = 1) -> PaymentLinkCreated:
        return PaymentLinkCreated(
            organization_id=OrganizationId(organization),
            reservation_id=ReservationId(reservation_id),
            intent=intent,
            url=f"https://checkout.test/{intent}",
            link_id=f"LNK_{intent}",
            reference=f"r-{intent}",
            amount=Money(amount=180_000),
            expires_at=datetime.now(UTC),
        )

    return make


@pytest.fixture
def reservation(client: httpx.AsyncClient) -> Callable[[], Awaitable[int]]:
    async def make() -> int:
        body = {"guestName": "Ana Gómez", "contact": "+573001234567", "amount": 180000}
        number: int = (await client.post("/api/reservations", json=body)).json()["data"]["id"]
        return number

    return make

"""The SIRE worker's process: parts, queues, and the deadline's clock."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from llegada.events.reservation import SIRE_ENTRY, SIRE_EXIT
from llegada.messaging.subscription import Subscription
from llegada.runtime.http import ProviderClient
from llegada.runtime.service import Periodic, Resources, Service
from sire_worker.gateway import Account, Gateway
from sire_worker.handlers import Registrations
from sire_worker.store import Store


class Settings(BaseSettings):
    """`gateways`: JSON, organization id → `{"url", "token"}`, for organizations whose channel is `gateway`.

    `gateway_per_second`: calls of one gateway; 0: no limit of our own.
    """

    model_config = SettingsConfigDict(env_prefix="SIRE_WORKER_")

    gateways: dict[int, Account] = Field(default_factory=dict)
    gateway_per_second: Annotated[float, Field(ge=0)] = 10


@asynccontextmanager
async def build(settings: Settings, resources: Resources) -> AsyncGenerator[Registrations]:
    async with ProviderClient("sire", "") as http:
        gateway = Gateway(http, settings.gateways, settings.gateway_per_second)
        yield Registrations(Store(resources.database), gateway)


async def _escalate(_settings: Settings, _resources: Resources, registrations: Registrations) -> None:
    await registrations.escalate()


service = Service(
    "sire-worker",
    Settings,
    build,
    subscriptions=(
        Subscription("remember-organization", Registrations.remember_organization),
        Subscription("file-entry", Registrations.file_entry, step=SIRE_ENTRY),
        Subscription("file-exit", Registrations.file_exit, step=SIRE_EXIT),
        Subscription("file", Registrations.file),
        Subscription("submit", Registrations.submit),
        Subscription("record", Registrations.record),
    ),
    periodic=(Periodic("overdue", 60, _escalate),),
)

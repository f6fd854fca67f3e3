"""The SIRE worker's process: parts, queues, and the deadline's clock."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pydantic_settings import BaseSettings, SettingsConfigDict

from llegada.events.reservation import SIRE_ENTRY, SIRE_EXIT
from llegada.messaging.subscription import Subscription
from llegada.runtime.service import Periodic, Resources, Service
from sire_worker.handlers import Registrations
from sire_worker.store import Store


class Settings(BaseSettings):
    """None of its own: what a property needs are settings of the organization."""

    model_config = SettingsConfigDict(env_prefix="SIRE_WORKER_")


@asynccontextmanager
async def build(_settings: Settings, resources: Resources) -> AsyncGenerator[Registrations]:
    yield Registrations(Store(resources.database))


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
        Subscription("record", Registrations.record),
    ),
    periodic=(Periodic("overdue", 60, _escalate),),
)

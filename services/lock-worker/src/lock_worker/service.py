"""The lock worker's process: settings, parts, queues."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from llegada.events.reservation import PASSCODE, PASSCODE_REVOKED
from llegada.messaging.subscription import Subscription
from llegada.runtime.http import ProviderClient
from llegada.runtime.service import Resources, Service
from lock_worker.handlers import Locks
from lock_worker.store import Store
from lock_worker.ttlock import Account, TTLock


class Settings(BaseSettings):
    """`accounts`: JSON, organization id → `{"client_id", "client_secret", "username", "password_md5"}`.

    `ttlock_per_second`: calls of one account; TTLock publishes no figure. 0: no limit of our own.
    """

    model_config = SettingsConfigDict(env_prefix="LOCK_WORKER_")

    ttlock_url: str = "https://euapi.ttlock.com"
    accounts: dict[int, Account] = Field(default_factory=dict)
    ttlock_per_second: Annotated[float, Field(ge=0)] = 10


@asynccontextmanager
async def build(settings: Settings, resources: Resources) -> AsyncGenerator[Locks]:
    async with ProviderClient("ttlock", settings.ttlock_url) as http:
        store = Store(resources.database)
        yield Locks(store, TTLock(http, store, settings.accounts, settings.ttlock_per_second))


service = Service(
    "lock-worker",
    Settings,
    build,
    subscriptions=(
        Subscription("remember-organization", Locks.remember_organization),
        Subscription("note-stay", Locks.note_stay, step=PASSCODE),
        Subscription("issue-passcode", Locks.issue_passcode, step=PASSCODE),
        Subscription("revoke-passcode", Locks.revoke_passcode, step=PASSCODE_REVOKED),
    ),
)

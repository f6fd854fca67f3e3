"""The payment worker's process: settings, parts, queues."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from llegada.events.reservation import PAYMENT_LINK
from llegada.messaging.subscription import Subscription
from llegada.runtime.http import ProviderClient
from llegada.runtime.service import Periodic, Resources, Service
from payment_worker.bold import Bold
from payment_worker.handlers import Payments
from payment_worker.missed import find_missed
from payment_worker.store import Store


class Settings(BaseSettings):
    """`merchants`: JSON, organization id → identity key at Bold. `bold_per_second`: of one merchant; 0: no limit.

    `ask_after_minutes`: how often Bold is asked about a link that is still open, in case its webhook got lost.
    """

    model_config = SettingsConfigDict(env_prefix="PAYMENT_WORKER_")

    bold_url: str = "https://integrations.api.bold.co"
    merchants: dict[int, SecretStr]
    bold_per_second: Annotated[float, Field(ge=0)] = 10
    ask_after_minutes: Annotated[float, Field(gt=0)] = 15
    link_lifetime_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 72


@asynccontextmanager
async def build(settings: Settings, resources: Resources) -> AsyncGenerator[Payments]:
    async with ProviderClient("bold", settings.bold_url) as http:
        synthetic = resources.settings.synthetic_organization
        bold = Bold(http, settings.merchants, settings.bold_per_second, synthetic)
        yield Payments(Store(resources.database), bold, timedelta(hours=settings.link_lifetime_hours))


async def _find_missed(settings: Settings, _resources: Resources, payments: Payments) -> None:
    await find_missed(payments, payments.store, payments.bold, timedelta(minutes=settings.ask_after_minutes))


async def _forget(_settings: Settings, resources: Resources, payments: Payments) -> None:
    if resources.settings.synthetic_organization is not None:
        await payments.store.forget(resources.settings.synthetic_organization)


service = Service(
    "payment-worker",
    Settings,
    build,
    subscriptions=(
        Subscription("create-link", Payments.create_link, step=PAYMENT_LINK),
        Subscription("remember", Payments.remember),
        Subscription("settle", Payments.settle),
    ),
    periodic=(Periodic("missed-payments", 30, _find_missed), Periodic("forget-synthetic", 600, _forget)),
)

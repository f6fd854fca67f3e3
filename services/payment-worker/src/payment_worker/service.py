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
from llegada.runtime.service import Resources, Service
from payment_worker.bold import Bold
from payment_worker.handlers import Payments
from payment_worker.store import Store


class Settings(BaseSettings):
    """`merchants`: JSON, organization id → identity key at Bold. `bold_per_second`: of one merchant; 0: no limit."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_WORKER_")

    bold_url: str = "https://integrations.api.bold.co"
    merchants: dict[int, SecretStr]
    bold_per_second: Annotated[float, Field(ge=0)] = 10
    link_lifetime_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 72


@asynccontextmanager
async def build(settings: Settings, resources: Resources) -> AsyncGenerator[Payments]:
    async with ProviderClient("bold", settings.bold_url) as http:
        bold = Bold(http, settings.merchants, settings.bold_per_second)
        yield Payments(Store(resources.database), bold, timedelta(hours=settings.link_lifetime_hours))


service = Service(
    "payment-worker",
    Settings,
    build,
    subscriptions=(
        Subscription("create-link", Payments.create_link, step=PAYMENT_LINK),
        Subscription("remember", Payments.remember),
        Subscription("settle", Payments.settle),
    ),
)

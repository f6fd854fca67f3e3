"""The example's process: settings, parts, queues."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pydantic_settings import BaseSettings, SettingsConfigDict

from example_worker.handlers import Welcomes
from example_worker.store import Store
from llegada.messaging.subscription import Subscription
from llegada.runtime.service import Resources, Service


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EXAMPLE_WORKER_")


@asynccontextmanager
async def build(_settings: Settings, _resources: Resources) -> AsyncGenerator[Welcomes]:
    yield Welcomes(Store())


service = Service("example-worker", Settings, build, subscriptions=(Subscription("welcome", Welcomes.welcome),))

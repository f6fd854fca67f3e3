"""The notification worker's process: settings, parts, queues."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from llegada.messaging.subscription import Subscription
from llegada.runtime.http import ProviderClient
from llegada.runtime.service import Periodic, Resources, Service
from notification_worker.archive import Archive, Bucket
from notification_worker.handlers import GRACE, Notifications
from notification_worker.mail import Mailer, MailServer
from notification_worker.store import Store
from notification_worker.whatsapp import META_LIMITS, Account, Limits, WhatsApp


class Settings(BaseSettings):
    """`whatsapp_accounts`: JSON, organization id → `{"phone_number_id", "token"}`. `sender`: `Name <address>`.
    `s3`: the bucket that statements are read from, where backoffice-worker writes them into one.
    """

    model_config = SettingsConfigDict(env_prefix="NOTIFICATION_WORKER_")

    whatsapp_url: str = "https://graph.facebook.com"
    whatsapp_version: Annotated[str, Field(pattern=r"^v[0-9]+\.0$")] = "v23.0"
    whatsapp_accounts: dict[int, Account] = Field(default_factory=dict)
    whatsapp_per_second: Annotated[float, Field(ge=0)] = META_LIMITS.per_second
    whatsapp_per_second_to_one: Annotated[float, Field(ge=0)] = META_LIMITS.per_second_to_one
    whatsapp_grace_seconds: Annotated[float, Field(ge=0)] = GRACE.total_seconds()
    smtp_host: str
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    sender: Annotated[str, Field(pattern=r"^([^<>]+ <[^@<> ]+@[^@<> ]+>|[^@<> ]+@[^@<> ]+)$")]
    s3: Bucket | None = None


@asynccontextmanager
async def build(settings: Settings, resources: Resources) -> AsyncGenerator[Notifications]:
    server = MailServer(
        settings.smtp_host, settings.smtp_port, settings.smtp_tls, settings.smtp_user, settings.smtp_password
    )
    async with ProviderClient("whatsapp", settings.whatsapp_url) as http:
        limits = Limits(settings.whatsapp_per_second, settings.whatsapp_per_second_to_one)
        synthetic = resources.settings.synthetic_organization
        whatsapp = WhatsApp(http, settings.whatsapp_version, settings.whatsapp_accounts, limits, synthetic)
        grace = timedelta(seconds=settings.whatsapp_grace_seconds)
        store, archive = Store(resources.database), Archive(settings.s3)
        yield Notifications(store, whatsapp, Mailer(server), settings.sender, grace, archive)


async def _clean(_settings: Settings, _resources: Resources, handlers: Notifications) -> None:
    await handlers.clean()


async def _forget(_settings: Settings, resources: Resources, handlers: Notifications) -> None:
    if resources.settings.synthetic_organization is not None:
        await handlers.forget(resources.settings.synthetic_organization)


service = Service(
    "notification-worker",
    Settings,
    build,
    subscriptions=(
        Subscription("collect", Notifications.collect),
        Subscription("remember-organization", Notifications.remember_organization),
        Subscription("note-status", Notifications.note_status),
        Subscription("note-message", Notifications.note_message),
        Subscription("send", Notifications.send, due=Notifications.not_in_quiet_hours),
        Subscription("reply", Notifications.reply),
        Subscription("send-statement", Notifications.send_statement),
    ),
    periodic=(Periodic("clean-statuses", 3600, _clean), Periodic("forget-synthetic", 600, _forget)),
)

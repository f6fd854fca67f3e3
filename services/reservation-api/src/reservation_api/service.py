"""The reservation API's process: settings, parts, the projection's queue, the HTTP app."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from llegada.messaging.subscription import Subscription
from llegada.runtime.service import Periodic, Resources, Service
from reservation_api.app import create_app
from reservation_api.documents.archive import Bucket
from reservation_api.operations.business import measure
from reservation_api.operations.promises import Promises
from reservation_api.reservations.store import forget_answers
from reservation_api.schedule.clock import invite_late_arrivals
from reservation_api.schedule.synthetic import synthesize
from reservation_api.statements.clock import order_statements
from reservation_api.timeline.projection import Projection

_SHORTEST_SECRET = 32  # bytes: RFC 7518 §3.2 asks for a key as long as the hash


class Settings(BaseSettings):
    """Exactly one of `jwt_secret` (HS256, development) and `jwks_url` (RS256/ES256, production).

    `whatsapp_numbers`: JSON, phone number id → organization id. Without the two WhatsApp secrets its webhooks are off.
    `bold_secrets`: JSON, organization id → secret key at Bold. `bold_test_organization`: the one whose webhooks are
    believed when they are signed with an empty key, as in Bold's test mode. Anybody can: never set it in production.
    `s3`: the bucket that documents are read from, where backoffice-worker writes them into one.
    """

    model_config = SettingsConfigDict(env_prefix="RESERVATION_API_")

    jwt_secret: SecretStr | None = None
    jwks_url: str | None = None
    audience: str | None = None
    issuer: str | None = None
    frontend_url: str = "http://localhost:3000"
    whatsapp_verify_token: SecretStr | None = None
    whatsapp_app_secret: SecretStr | None = None
    whatsapp_numbers: dict[str, int] = Field(default_factory=dict)
    bold_secrets: dict[int, SecretStr] = Field(default_factory=dict)
    bold_test_organization: int | None = None
    s3: Bucket | None = None

    @model_validator(mode="after")
    def _one_way_to_check(self) -> "Settings":
        if (self.jwt_secret is None) == (self.jwks_url is None):
            raise ValueError("set exactly one of RESERVATION_API_JWT_SECRET and RESERVATION_API_JWKS_URL")
        if self.jwt_secret is not None and len(self.jwt_secret.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"RESERVATION_API_JWT_SECRET must have {_SHORTEST_SECRET} characters at least")
        return self


@asynccontextmanager
async def build(_settings: Settings, _resources: Resources) -> AsyncGenerator[Projection]:
    yield Projection(Promises())


async def _statements(_settings: Settings, resources: Resources, _handlers: Projection) -> None:
    await order_statements(resources.database)


async def _invite(settings: Settings, resources: Resources, _handlers: Projection) -> None:
    await invite_late_arrivals(resources.database, settings.frontend_url.rstrip("/"))


async def _judge(_settings: Settings, resources: Resources, projection: Projection) -> None:
    await projection.promises.judge(resources.database)


async def _measure(_settings: Settings, resources: Resources, _handlers: Projection) -> None:
    await measure(resources.database, resources.settings.synthetic_organization)


async def _synthesize(settings: Settings, resources: Resources, _handlers: Projection) -> None:
    organization = resources.settings.synthetic_organization
    if organization is not None:
        await synthesize(resources.database, organization, settings.frontend_url.rstrip("/"))


async def _forget(_settings: Settings, resources: Resources, _handlers: Projection) -> None:
    await forget_answers(resources.database)


service = Service(
    "reservation-api",
    Settings,
    build,
    subscriptions=(Subscription("project", Projection.project),),
    app=create_app,
    keeps_dead_letters=True,
    periodic=(
        Periodic("late-invitations", 15, _invite),
        Periodic("promises", 5, _judge),
        Periodic("business", 30, _measure),
        Periodic("synthetic-reservation", 5, _synthesize),
        Periodic("monthly-statements", 60, _statements),
        Periodic("forget-answers", 60, _forget),
    ),
)

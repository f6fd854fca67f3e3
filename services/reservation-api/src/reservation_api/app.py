"""The FastAPI app: the rooms' routers, behind the edge."""

from typing import Any, Protocol

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.types import ASGIApp

from llegada.messaging.transaction import Database
from llegada.runtime.database import APP_ROLE
from llegada.runtime.service import Resources
from reservation_api import problems
from reservation_api.access import SigningKeys, TokenReader
from reservation_api.conversations import routes as conversations
from reservation_api.documents.archive import Archive, Bucket
from reservation_api.edge import Edge
from reservation_api.operations import dead_letters
from reservation_api.operations import routes as operations
from reservation_api.organizations import routes as organizations
from reservation_api.parts import BoldWebhooks, Parts, WhatsAppWebhooks
from reservation_api.people import routes as people
from reservation_api.reservations import actions
from reservation_api.reservations import routes as reservations
from reservation_api.schedule import routes as schedule
from reservation_api.sire import routes as sire
from reservation_api.statements import routes as statements
from reservation_api.statements import work_times
from reservation_api.tasks import routes as tasks
from reservation_api.timeline import routes as timeline
from reservation_api.timeline.stream import Stream
from reservation_api.webhooks import routes as webhooks

_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, with which value, and what is allowed"},
        "instance": {"type": "string"},
        "success": {"const": False},
        "message": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
    "required": ["type", "title", "status", "detail", "success", "message"],
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {problems.MEDIA_TYPE: {"schema": _SCHEMA}}}
    for status, words in {
        401: "No valid token",
        403: "The role is missing",
        404: "Not there, or another organization's",
        409: "Conflict",
        413: "Body too large",
        415: "Not JSON",
        422: "Not valid; `errors` names the fields",
        503: "The database, the store of documents, or the keys of the sign-in are away; nothing was stored",
    }.items()
}


class AppSettings(Protocol):
    """What the app reads of the service's settings."""

    jwt_secret: SecretStr | None
    jwks_url: str | None
    audience: str | None
    issuer: str | None
    frontend_url: str
    whatsapp_verify_token: SecretStr | None
    whatsapp_app_secret: SecretStr | None
    whatsapp_numbers: dict[str, int]
    bold_secrets: dict[int, SecretStr]
    bold_test_organization: int | None
    s3: Bucket | None


def create_app(settings: AppSettings, resources: Resources, _handlers: object) -> ASGIApp:
    app = api()
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret is not None else None
    keys = SigningKeys(settings.jwks_url) if settings.jwks_url is not None else None
    app.state.tokens = TokenReader(secret, keys, settings.audience, settings.issuer)
    database = Database(resources.engine_as(APP_ROLE), resources.database.schema)
    whatsapp = WhatsAppWebhooks(settings.whatsapp_verify_token, settings.whatsapp_app_secret, settings.whatsapp_numbers)
    bold = BoldWebhooks(settings.bold_secrets, settings.bold_test_organization)
    frontend_url, archive = settings.frontend_url.rstrip("/"), Archive(settings.s3)
    app.state.parts = Parts(database, resources, frontend_url, whatsapp, bold, archive)
    app.state.stream = Stream(resources.database)
    return Edge(app)


def api() -> FastAPI:
    """The app without its parts: enough for its OpenAPI document."""
    app = FastAPI(
        title="Llegada",
        version="1",
        description="The front desk's API: answers at once, and works in the background.",
        openapi_url="/api/openapi.json",
        docs_url="/api/docs",
        redoc_url=None,
        responses=_PROBLEMS,
    )
    problems.install(app)
    for room in (
        reservations,
        actions,
        timeline,
        conversations,
        organizations,
        operations,
        dead_letters,
        schedule,
        sire,
        webhooks,
        statements,
        work_times,
        tasks,
        people,
    ):
        app.include_router(room.router)
    return app

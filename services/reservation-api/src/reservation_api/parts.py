"""What the rooms' routes share: the app role's database, the switch, the settings."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request
from pydantic import SecretStr

from llegada.messaging.transaction import Database, Transaction
from llegada.runtime.service import Resources
from reservation_api.documents.archive import Archive


@dataclass(frozen=True)
class WhatsAppWebhooks:
    """`numbers`: phone number id → organization. Without the secrets the webhooks are switched off."""

    verify_token: SecretStr | None = None
    app_secret: SecretStr | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BoldWebhooks:
    """`secrets`: organization → its secret key at Bold. `test_organization`: whose webhooks come signed with no key."""

    secrets: Mapping[int, SecretStr] = field(default_factory=dict)
    test_organization: int | None = None


@dataclass(frozen=True)
class Parts:
    """`database` acts as the app's role: rows of other organizations do not exist for it."""

    database: Database
    resources: Resources
    frontend_url: str
    whatsapp: WhatsAppWebhooks = WhatsAppWebhooks()
    bold: BoldWebhooks = BoldWebhooks()
    archive: Archive = Archive()

    @asynccontextmanager
    async def transaction(self, organization_id: int) -> AsyncGenerator[Transaction]:
        """A transaction of one organization: row-level security is set in the same round trip that begins it."""
        async with self.database.transaction(f"set local llegada.organization = '{int(organization_id)}'") as tx:
            yield tx


async def parts(request: Request) -> Parts:
    """The app's parts, as a dependency (a coroutine: FastAPI would call a function in a thread of its own)."""
    found: Parts = request.app.state.parts
    return found

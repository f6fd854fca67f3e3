"""An organization's settings."""

import json
from dataclasses import dataclass, field
from typing import Any

from llegada.messaging.transaction import Transaction
from reservation_api.problems import NotSetUp

_ONE = """
select name, time_zone, language, channels, wordings, stay, revision from organizations where organization_id = $1
"""
_PUT = """
insert into organizations (organization_id, name, time_zone, language, channels, wordings, stay)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (organization_id) do update
set name = excluded.name, time_zone = excluded.time_zone, language = excluded.language, channels = excluded.channels,
    wordings = excluded.wordings, stay = excluded.stay, revision = organizations.revision + 1, updated_at = now()
returning revision
"""


@dataclass(frozen=True)
class Organization:
    """`stay`: times, locks and SIRE, in the words of `OrganizationConfigured`."""

    name: str
    time_zone: str
    language: str
    channels: list[str]
    wordings: dict[str, Any]
    stay: dict[str, Any] = field(default_factory=dict)
    revision: int = 0


async def one(tx: Transaction, organization_id: int) -> Organization | None:
    row = await tx.fetchrow(_ONE, organization_id)
    return None if row is None else Organization(**dict(row))


def needed(found: Organization | None, organization_id: int) -> Organization:
    """The settings without which no reservation can be made."""
    if found is None:
        raise NotSetUp(
            f"organization {organization_id} has no settings yet; "
            f"an admin must send PUT /api/organizations/{organization_id}/settings first"
        )
    return found


async def put(tx: Transaction, organization_id: int, new: Organization) -> int:
    """Store the settings whole; returns their revision."""
    wordings, stay = json.dumps(new.wordings), json.dumps(new.stay)
    revision: int = await tx.fetchval(
        _PUT, organization_id, new.name, new.time_zone, new.language, new.channels, wordings, stay
    )
    return revision

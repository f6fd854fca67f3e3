"""Whom a provider knows: by default everyone who says a name."""

from pydantic import BaseModel, ConfigDict


class Accounts(BaseModel):
    """Keys (Bold), tokens (WhatsApp) or user names (SMTP). `known` empty: all but the `refused` ones."""

    model_config = ConfigDict(extra="forbid")

    known: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    def allow(self, name: str) -> bool:
        return name != "" and name not in self.refused and (not self.known or name in self.known)

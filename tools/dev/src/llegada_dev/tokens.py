"""Tokens for the demo organization, as an identity provider would give them."""

import secrets
import time
from pathlib import Path

import jwt

ORGANIZATION = 1
_LIFETIME = 12 * 3600


def secret_of(folder: Path) -> str:
    """Made once per folder, readable by its owner alone."""
    path = folder / "jwt-secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text()


def token(secret: str, subject: str, roles: list[str], organization: int = ORGANIZATION) -> str:
    now = int(time.time())
    claims = {"sub": subject, "org": organization, "roles": roles, "iat": now, "exp": now + _LIFETIME}
    return jwt.encode(claims, secret, algorithm="HS256")

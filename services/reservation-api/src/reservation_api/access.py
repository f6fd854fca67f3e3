"""Who asks: a bearer JWT (RFC 7519, RFC 6750) becomes a Staff with one organization and roles."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt
from fastapi import Request

from llegada.events.types import OrganizationId
from reservation_api.problems import Forbidden, Unauthorized

ROLES = frozenset({"staff", "admin", "operator"})


@dataclass(frozen=True)
class Staff:
    """`subject` names the person in the audit log."""

    subject: str
    organization: OrganizationId
    roles: frozenset[str]


class TokenReader:
    """HS256 with a shared secret (development), or RS256/ES256 with keys of a JWKS address (production): never both,
    so a token cannot choose how it is checked.
    """

    def __init__(self, secret: str | None, jwks_url: str | None, audience: str | None, issuer: str | None) -> None:
        self._secret = secret
        self._keys = jwt.PyJWKClient(jwks_url, cache_keys=True, timeout=5) if jwks_url is not None else None
        self._algorithms = ["HS256"] if secret is not None else ["RS256", "ES256"]
        self._audience = audience
        self._issuer = issuer

    async def read(self, header: str | None) -> Staff:
        """Raises Unauthorized, and says what is wrong with the token."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("a bearer token is needed: `Authorization: Bearer <JWT>`")
        try:
            claims = jwt.decode(
                token,
                await self._key(token),
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "sub", "org"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthorized(f"the token is not valid: {error}") from error
        return _staff(claims)

    async def _key(self, token: str) -> Any:
        if self._keys is None:
            return self._secret
        # The client blocks while it fetches keys; they are cached afterwards.
        return (await asyncio.to_thread(self._keys.get_signing_key_from_jwt, token)).key


def _staff(claims: dict[str, Any]) -> Staff:
    organization, roles = claims["org"], claims.get("roles", [])
    if not isinstance(organization, int) or isinstance(organization, bool) or organization < 1:
        raise Unauthorized("the token's claim `org` must be a positive integer")
    if not isinstance(roles, list):
        raise Unauthorized("the token's claim `roles` must be a list")
    return Staff(str(claims["sub"]), OrganizationId(organization), frozenset(map(str, roles)) & ROLES)


def needs(*roles: str) -> Callable[[Request], Awaitable[Staff]]:
    """A dependency: somebody with one of these roles. 401 without a valid token, 403 without the role."""

    async def staff(request: Request) -> Staff:
        reader: TokenReader = request.app.state.tokens
        found = await reader.read(request.headers.get("authorization"))
        if not found.roles & set(roles):
            raise Forbidden(f"this needs one of the roles {', '.join(roles)}")
        return found

    return staff

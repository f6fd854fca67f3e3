"""Who asks: a bearer JWT (RFC 7519, RFC 6750) becomes a Staff with one organization and roles."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt
import structlog
from fastapi import Request

from llegada.events.types import OrganizationId
from reservation_api.problems import Forbidden, KeysAway, Unauthorized

log = structlog.get_logger()
ROLES = frozenset({"staff", "admin", "operator"})


@dataclass(frozen=True)
class Staff:
    """`subject` names the person in the audit log."""

    subject: str
    organization: OrganizationId
    roles: frozenset[str]


class SigningKeys(jwt.PyJWKClient):
    """The keys of a JWKS address (RFC 7517), asked for again after `lifespan` seconds: a key that was removed there is
    refused from then on. While the address gives no keys, the last ones hold: for `kept` seconds since they came, so a
    key that is removed in such a time is accepted for that long. Then KeysAway, for everybody.
    """

    def __init__(self, url: str, *, lifespan: float = 300, kept: float = 3600) -> None:
        super().__init__(url, cache_keys=False, lifespan=lifespan, timeout=5)
        self._kept = kept
        self._last: tuple[float, Any] | None = None

    def fetch_data(self) -> Any:
        """For the base class; what it returns is cached for a `lifespan`, so an address that is away is spared too."""
        try:
            keys = super().fetch_data()
        except (jwt.PyJWTError, OSError, ValueError) as error:  # no connection, no JSON, no key in it
            log.warning("signing_keys_away", error=repr(error)[:200])
            if self._last is None or time.monotonic() - self._last[0] > self._kept:
                raise KeysAway("The token cannot be checked: its issuer gives no keys. Please try again.") from error
            return self._last[1]
        self._last = time.monotonic(), keys
        return keys


class TokenReader:
    """HS256 with a shared secret (development), or RS256/ES256 with keys of a JWKS address (production): never both,
    so a token cannot choose how it is checked.
    """

    def __init__(self, secret: str | None, keys: SigningKeys | None, audience: str | None, issuer: str | None) -> None:
        self._secret = secret
        self._keys = keys
        self._algorithms = ["HS256"] if secret is not None else ["RS256", "ES256"]
        self._audience = audience
        self._issuer = issuer

    async def read(self, header: str | None) -> Staff:
        """Raises Unauthorized, and says what is wrong with the token; KeysAway where it cannot be checked."""
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

"""Bearer token → who asks, for which organization, in which roles (RFC 6750, RFC 7519, RFC 8725).

The algorithm is never taken from the token: a shared secret means HS256, a key of the identity provider means what
its type allows (RSA: RS256, EC: ES256). So a public key cannot be abused as a secret, and `none` is nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import httpx
import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from llegada.events.types import OrganizationId
from reservation_api.errors import Forbidden, KeysUnavailable, Unauthenticated
from reservation_api.wire import BIGGEST_ID

_LEEWAY = 10  # seconds that clocks may differ
_FRESH, _PATIENCE = 600.0, 30.0  # seconds: keys are fetched again after, and for an unknown key at most every
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
_BEARER = HTTPBearer(bearerFormat="JWT", description="`sub`, `org` (number), `roles`, `exp`", auto_error=False)


class Role(StrEnum):
    STAFF = "staff"
    ADMIN = "admin"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Staff:
    """Who asks. `subject` is the identity provider's name for the person; it goes to the audit log."""

    subject: str
    organization: OrganizationId
    roles: frozenset[Role]


class SigningKeys:
    """The identity provider's public keys (RFC 7517), fetched without blocking and kept.

    An unknown key id fetches them anew, at most every 30 s; keys that are known stay good while the provider is away.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK:
        if self._stale(key_id):
            async with self._lock:
                if self._stale(key_id):
                    await self._fetch()
        if key_id not in self._keys:
            raise Unauthenticated("the token is signed with a key that the identity provider does not publish")
        return self._keys[key_id]

    def _stale(self, key_id: str | None) -> bool:
        age = time.monotonic() - self._tried_at
        return age > _FRESH or (key_id not in self._keys and age > _PATIENCE)

    async def _fetch(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=3.0, transport=self._transport, trust_env=False) as client:
                response = await client.get(self._url)
                response.raise_for_status()
                keys = jwt.PyJWKSet.from_dict(response.json()).keys
        except (httpx.HTTPError, ValueError, jwt.PyJWTError) as error:
            if not self._keys:
                raise KeysUnavailable("the identity provider's signing keys cannot be fetched") from error
        else:
            self._keys = {key.key_id: key for key in keys}
        self._tried_at = time.monotonic()


class Tokens:
    """Reads tokens. Exactly one of `secret` (HS256) and `keys` (RS256, ES256) is given."""

    def __init__(
        self,
        *,
        secret: str | None = None,
        keys: SigningKeys | None = None,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._secret = secret
        self._keys = keys
        self._audience = audience
        self._issuer = issuer

    async def read(self, token: str) -> Staff:
        """Raises Unauthenticated for every token that cannot be believed, and says why."""
        try:
            key, algorithm = await self._key(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "sub", "org"], "verify_aud": self._audience is not None},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("the token has expired; sign in again") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not valid: {_why(error)}") from error
        return _staff(claims)

    async def _key(self, token: str) -> tuple[Any, str]:
        if self._secret is not None:
            return self._secret, "HS256"
        assert self._keys is not None  # settings allow exactly one of the two
        found = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
        algorithm = _ALGORITHMS.get(found.key_type or "")
        if algorithm is None:
            raise Unauthenticated(f"keys of type {found.key_type!r} are not taken; RSA and EC are")
        return found.key, algorithm


def _why(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.InvalidAlgorithmError():
            return "it is signed in another way than the one that is agreed"
        case jwt.InvalidSignatureError():
            return "the signature does not fit"
        case jwt.MissingRequiredClaimError():
            return f"the claim {error.claim!r} is missing"
        case jwt.InvalidAudienceError():
            return "it was made for another audience"
        case jwt.InvalidIssuerError():
            return "it was made by another issuer"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case _:
            return "it cannot be read"


def _staff(claims: dict[str, Any]) -> Staff:
    subject, organization, roles = claims["sub"], claims["org"], claims.get("roles", [])
    if not isinstance(subject, str) or not 1 <= len(subject) <= 200 or not subject.isprintable():
        raise Unauthenticated("the token is not valid: the claim 'sub' must be a text of 1 to 200 characters")
    if not isinstance(organization, int) or isinstance(organization, bool) or not 1 <= organization <= BIGGEST_ID:
        raise Unauthenticated("the token is not valid: the claim 'org' must be an organization's number")
    if not isinstance(roles, list):
        raise Unauthenticated("the token is not valid: the claim 'roles' must be a list")
    known = frozenset(Role(role) for role in roles if role in set(Role))
    return Staff(subject, OrganizationId(organization), known)


def allow(*roles: Role) -> Callable[..., Awaitable[Staff]]:
    """A dependency: who asks, if in one of `roles`. Raises Unauthenticated or Forbidden."""

    async def asker(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Staff:
        if credentials is None:
            raise Unauthenticated("a bearer token is needed: Authorization: Bearer <token>")
        tokens: Tokens = request.app.state.parts.tokens
        staff = await tokens.read(credentials.credentials)
        if not staff.roles.intersection(roles):
            raise Forbidden(f"this needs one of the roles: {', '.join(sorted(roles))}")
        return staff

    return asker

"""Tokens that are checked by the keys of an address: what holds when the keys there change, or the address is away."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from reservation_api.access import SigningKeys, TokenReader
from reservation_api.problems import KeysAway, Unauthorized

AT_ONCE = 1e-9
"""Seconds after which keys are asked for again: at each token."""


class Issuer:
    """Signs tokens, and shows its keys at an address."""

    url: str

    def __init__(self) -> None:
        self._signing = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("old", "new")}
        keys = {
            name: json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) for name, key in self._signing.items()
        }
        self.keys: dict[str, Any] = {name: {**key, "kid": name, "use": "sig"} for name, key in keys.items()}
        self.answer: str | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = json.dumps({"keys": list(self.keys.values())}) if self.answer is None else self.answer
        writer.write(
            f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()
        )
        writer.close()
        await writer.wait_closed()

    def token(self, key: str) -> str:
        claims = {"sub": "staff@test", "org": 1, "roles": ["staff"], "exp": int(time.time()) + 60}
        return "Bearer " + jwt.encode(claims, self._signing[key], algorithm="ES256", headers={"kid": key})


@pytest_asyncio.fixture
async def issuer() -> AsyncGenerator[Issuer]:
    made = Issuer()
    async with await asyncio.start_server(made.serve, "127.0.0.1") as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
        yield made


def reading(keys: SigningKeys) -> TokenReader:
    return TokenReader(None, keys, None, None)


async def test_a_key_that_was_removed_is_refused(issuer: Issuer) -> None:
    reader = reading(SigningKeys(issuer.url, lifespan=AT_ONCE))
    assert (await reader.read(issuer.token("old"))).subject == "staff@test"
    del issuer.keys["old"]
    with pytest.raises(Unauthorized, match="signing key"):
        await reader.read(issuer.token("old"))
    assert (await reader.read(issuer.token("new"))).subject == "staff@test"


@pytest.mark.parametrize("answer", ["<html>away</html>", "[]", '{"keys": []}', ""])
async def test_the_last_keys_hold_while_the_address_gives_none(issuer: Issuer, answer: str) -> None:
    reader = reading(SigningKeys(issuer.url, lifespan=AT_ONCE))
    await reader.read(issuer.token("old"))
    issuer.answer = answer
    assert (await reader.read(issuer.token("old"))).subject == "staff@test"


async def test_keys_that_are_too_old_hold_no_longer(issuer: Issuer) -> None:
    reader = reading(SigningKeys(issuer.url, lifespan=AT_ONCE, kept=0))
    await reader.read(issuer.token("old"))
    issuer.answer = ""
    with pytest.raises(KeysAway, match="gives no keys"):
        await reader.read(issuer.token("old"))


async def test_a_token_that_nobody_can_check_is_not_called_wrong(issuer: Issuer) -> None:
    reader = reading(SigningKeys("http://127.0.0.1:1/jwks.json"))
    with pytest.raises(KeysAway) as refusal:
        await reader.read(issuer.token("old"))
    assert refusal.value.status == 503

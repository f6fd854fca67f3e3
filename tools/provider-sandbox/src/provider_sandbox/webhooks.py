"""Webhooks as the providers send them: signed over the raw bytes; doubled, reordered, forged and retried on request."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from typing import Annotated, Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=600)]
ANSWER_SECONDS = 2.0
"""Bold waits this long for a 200 (developers.bold.co/webhook); the sandbox is as strict for WhatsApp."""
POSTS_AT_ONCE = 20
"""Others wait here: httpx's pool looks through all that wait for a connection each time that one is free."""


class NothingToTellError(LookupError):
    """An event about a link or a message that does not exist."""


class Order(BaseModel):
    """What `POST /_sandbox/webhooks` takes. Each event is the provider's own to read (README)."""

    model_config = ConfigDict(extra="forbid")

    provider: Literal["bold", "whatsapp"]
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """None: the webhook gets lost, only the event itself happens."""
    secret: str = ""
    events: Annotated[list[dict[str, Any]], Field(min_length=1)]
    batch: bool = False
    """WhatsApp: all events in one POST, as Meta does with up to 1 000 of them."""
    copies: Annotated[int, Field(ge=1, le=1000)] = 1
    order: Literal["given", "reversed", "shuffled"] = "given"
    seed: int | None = None
    forged: Literal["wrong_key", "missing", "altered_body"] | None = None
    retry_delays: list[Seconds] = []
    """Bold's own schedule is 15 min, 1 h, 4 h, 8 h, 24 h; say here how short it shall be."""


def bold_signature(secret: str, body: bytes) -> str:
    """Lowercase hex HMAC-SHA256 over base64(raw body); in Bold's test mode the key is the empty string."""
    return hmac.new(secret.encode(), base64.b64encode(body), hashlib.sha256).hexdigest()


def whatsapp_signature(secret: str, body: bytes) -> str:
    """`sha256=` and the hex HMAC-SHA256 over the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def encoded(payload: dict[str, Any]) -> bytes:
    """The bytes that are signed and sent. Non-ASCII is escaped, as Meta does: re-serialised JSON has other bytes."""
    return json.dumps(payload, separators=(",", ":")).encode()


def arranged(bodies: list[bytes], order: Order) -> list[bytes]:
    """Copies and order of the deliveries; the same seed gives the same order."""
    all_bodies = [body for body in bodies for _ in range(order.copies)]
    if order.order == "reversed":
        all_bodies.reverse()
    if order.order == "shuffled":
        random.Random(order.seed).shuffle(all_bodies)  # noqa: S311 - an order, no secret
    return all_bodies


def headers(order: Order, body: bytes) -> dict[str, str]:
    """The signature's header; forged ones are wrong in the ways an attacker's would be."""
    if order.forged == "missing":
        return {"content-type": "application/json"}
    secret = f"not-{order.secret}" if order.forged == "wrong_key" else order.secret
    if order.provider == "bold":
        return {"content-type": "application/json", "x-bold-signature": bold_signature(secret, body)}
    return {"content-type": "application/json", "x-hub-signature-256": whatsapp_signature(secret, body)}


class Sender:
    """Sends webhooks, in the background or while the caller waits."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._posting = asyncio.Semaphore(POSTS_AT_ONCE)

    async def send(self, order: Order, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One after the other, in the order asked for. Returns `{status, seconds, attempts, error?}` of each."""
        if order.url is None:
            return []
        bodies = arranged([encoded(payload) for payload in payloads], order)
        return [await self._delivered(order, order.url, body) for body in bodies]

    def send_later(self, order: Order, payloads: list[dict[str, Any]]) -> None:
        """Like `send`, without waiting for it."""

        async def sending() -> None:
            await self.send(order, payloads)

        task = asyncio.create_task(sending())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _delivered(self, order: Order, url: str, body: bytes) -> dict[str, Any]:
        """One delivery and its retries: until a 200, or no delay is left."""
        answer: dict[str, Any] = {}
        for attempt, delay in enumerate([0.0, *order.retry_delays], start=1):
            await asyncio.sleep(delay)
            answer = {**await self._posted(order, url, body), "attempts": attempt}
            if answer["status"] == httpx.codes.OK:
                break
        return answer

    async def _posted(self, order: Order, url: str, body: bytes) -> dict[str, Any]:
        if self._client is None:
            # A proxy of the surrounding machine must not see webhooks to localhost.
            self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False)
        content = body.replace(b"{", b'{"forged":true,', 1) if order.forged == "altered_body" else body
        async with self._posting:
            started = time.perf_counter()
            try:
                response = await self._client.post(url, content=content, headers=headers(order, body))
            except httpx.HTTPError as error:
                answer: dict[str, Any] = {"status": None, "error": f"{type(error).__name__}: {error}"}
            else:
                answer = {"status": response.status_code}
            return {**answer, "seconds": round(time.perf_counter() - started, 4)}

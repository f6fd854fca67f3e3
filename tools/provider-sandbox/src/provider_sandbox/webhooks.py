"""Webhooks as the providers send them: signed over the raw bytes; doubled, reordered or forged on request."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
from typing import Any

import httpx


def bold_signature(secret: str, body: bytes) -> str:
    """Lowercase hex HMAC-SHA256 over base64(raw body); in Bold's test mode the key is the empty string."""
    return hmac.new(secret.encode(), base64.b64encode(body), hashlib.sha256).hexdigest()


def whatsapp_signature(secret: str, body: bytes) -> str:
    """`sha256=` and the hex HMAC-SHA256 over the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def fire(order: dict[str, Any]) -> list[dict[str, Any]]:
    """`{provider, url, secret, bodies: […], copies?: 1, shuffle?: false, forged?: false, seed?}` → the answers.

    `bodies` are the payloads; WhatsApp's are sent with non-ASCII escaped, as Meta does.
    """
    provider, url, secret = order["provider"], order["url"], order["secret"]
    if provider not in ("bold", "whatsapp"):
        raise ValueError("provider must be bold or whatsapp")
    bodies = [json.dumps(body).encode() for body in order["bodies"] for _ in range(int(order.get("copies", 1)))]
    if order.get("shuffle"):
        random.Random(order.get("seed")).shuffle(bodies)  # noqa: S311 - an order, no secret
    key = f"not-{secret}" if order.get("forged") else secret
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        return list(await asyncio.gather(*(_post(client, provider, url, key, body) for body in bodies)))


async def _post(client: httpx.AsyncClient, provider: str, url: str, key: str, body: bytes) -> dict[str, Any]:
    if provider == "bold":
        headers = {"x-bold-signature": bold_signature(key, body)}
    else:
        headers = {"x-hub-signature-256": whatsapp_signature(key, body)}
    answer = await client.post(url, content=body, headers={**headers, "content-type": "application/json"})
    return {"status": answer.status_code, "seconds": round(answer.elapsed.total_seconds(), 4)}

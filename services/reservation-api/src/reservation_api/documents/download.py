"""A file as an answer: with its checksum (RFC 9530), and 304 for who has it already (RFC 9110 §13.1.2)."""

from base64 import b64encode
from typing import Any

import asyncpg
from fastapi import Request
from starlette.responses import Response

from llegada.messaging.transaction import Transaction
from reservation_api.documents import store
from reservation_api.parts import Parts
from reservation_api.problems import Conflict, NotFound

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The PDF", "content": {"application/pdf": {}}},
    304: {"description": "The `If-None-Match` of the request names this file"},
}


async def find(tx: Transaction, organization_id: int, subject: str, key: str) -> asyncpg.Record:
    """NotFound if it was never ordered; Conflict, with the reason, while it is not ready."""
    found = await store.one(tx, organization_id, subject, key)
    if found is None:
        raise NotFound(f"there is no document {key} of {subject}")
    if found["state"] == "failed":
        raise Conflict(f"the document could not be made: {found['reason']}")
    if found["state"] != "ready":
        raise Conflict("the document is being made; ask again in a moment")
    return found


async def answer(request: Request, part: Parts, found: asyncpg.Record) -> Response:
    """After the transaction: the store may have to be asked. Raises StoreAway where it does not give these bytes."""
    etag, digest = f'"{found["sha256"]}"', b64encode(bytes.fromhex(found["sha256"])).decode("ascii")
    headers = {
        "etag": etag,
        "repr-digest": f"sha-256=:{digest}:",
        "cache-control": "private, no-cache",
        "content-disposition": f'attachment; filename="{found["name"]}"',
    }
    if etag in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    content = await part.archive.read(store.file_of(found))
    return Response(content, media_type=found["media_type"], headers=headers)

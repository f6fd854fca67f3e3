"""Domain error → application/problem+json (RFC 9457), with `success` and `message` for the existing frontend.

    Problem
    ├── Unauthorized 401   ├── NotFound 404   ├── NotSetUp 409   ├── WrongType 415
    ├── Forbidden 403      ├── Conflict 409   ├── TooLarge 413   ├── Invalid 422
    └── StoreAway, KeysAway 503

The only file that knows HTTP statuses and domain errors both.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llegada.messaging.transaction import database_away, not_storable

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger()

_MORE_HEADERS: dict[int, dict[str, str]] = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """`detail` says what was wrong, with which value, and what is allowed."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unauthorized(Problem):
    status, title = 401, "Not signed in"


class Forbidden(Problem):
    status, title = 403, "Not allowed"


class NotFound(Problem):
    status, title = 404, "Not found"


class Conflict(Problem):
    status, title = 409, "Conflict"


class NotSetUp(Problem):
    status, title = 409, "Organization is not set up"


class TooLarge(Problem):
    status, title = 413, "Body too large"


class WrongType(Problem):
    status, title = 415, "Unsupported media type"


class Invalid(Problem):
    status, title = 422, "Not valid"


class StoreAway(Problem):
    status, title = 503, "Store of documents is away"


class KeysAway(Problem):
    status, title = 503, "Keys of the sign-in are away"


def problem(
    status: int, title: str, detail: str, instance: str, errors: list[dict[str, Any]] | None = None
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "success": False,
        "message": detail,
    }
    if errors:
        body["errors"] = errors
    return Response(json.dumps(body, ensure_ascii=False), status, _MORE_HEADERS.get(status), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Every error leaves as a problem, also one that nobody foresaw."""
    app.add_exception_handler(Problem, _known)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _known)


def of_error(path: str, error: Exception) -> Response:
    """The answer to an error that left the app: a refusal of the edge, the database away, or a bug."""
    if isinstance(error, Problem):
        return problem(error.status, error.title, error.detail, path)
    if database_away(error):
        log.warning("database_away", error=type(error).__name__)
        return problem(503, "Database is away", "Nothing was stored. Please try again in a moment.", path)
    if not_storable(error):
        return problem(422, "Not valid", "A text contains the NUL character (U+0000), which is not allowed.", path)
    log.error("unexpected", exc_info=error)
    return problem(500, "Internal error", "Something went wrong on our side; nothing was stored.", path)


async def _known(request: Request, error: Exception) -> Response:
    return of_error(request.url.path, error)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # registered for it
    errors = [_field(mistake) for mistake in error.errors()]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return problem(422, "Not valid", detail, request.url.path, errors)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for it
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problem(error.status_code, str(error.detail), detail, request.url.path)


def _field(mistake: Mapping[str, Any]) -> dict[str, Any]:
    where = [str(part) for part in mistake["loc"] if part not in ("body", "query", "path", "header")]
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        message = "unknown field; the API's documentation names those that are allowed"
    if mistake["type"] == "json_invalid":
        where, message = [], f"the body is not JSON: {mistake.get('ctx', {}).get('error', '')}"
    return {"field": ".".join(where) or "body", "message": message}

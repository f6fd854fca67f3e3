"""What can go wrong with a request, without a word of HTTP: `problems.py` turns it into an answer.

ApiError
├── Unauthenticated   no token, or one that cannot be believed
├── Forbidden         believed, but not allowed to do this
├── NotFound          nothing with this id in this organization (whose it is otherwise is not said)
├── InvalidInput      well formed, but impossible
├── KeyReused         an Idempotency-Key that already stands for another request
├── TooLarge          the body is bigger than any that the API takes
├── NotJson           the body is of another media type
└── KeysUnavailable   the identity provider's signing keys cannot be fetched
"""

from collections.abc import Sequence


class ApiError(Exception):
    """`detail` says what happened, with which value, and what is allowed or what to do next."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unauthenticated(ApiError):
    """`expired`, `signature` … tell a client whether a new token helps: any of these needs one."""


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class InvalidInput(ApiError):
    """`field` by its name on the wire; `allowed`: the values or names that would be taken, where they can be listed."""

    def __init__(self, field: str, detail: str, allowed: Sequence[str] | None = None) -> None:
        super().__init__(detail)
        self.field = field
        self.allowed = allowed


class KeyReused(ApiError):
    pass


class TooLarge(ApiError):
    pass


class NotJson(ApiError):
    pass


class KeysUnavailable(ApiError):
    pass

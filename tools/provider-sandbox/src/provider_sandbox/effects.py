"""The judge: every effect that a provider would really have made, however the answer to it ended."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


class Effects:
    """Kept in order: `{provider, operation, account, recipient, reference, id, at}`, and what a judge may need."""

    def __init__(self) -> None:
        self._made: list[dict[str, Any]] = []

    def made(self, provider: str, operation: str, account: str, recipient: str | None, **more: Any) -> None:
        at = datetime.now(UTC).isoformat()
        self._made.append(
            {"provider": provider, "operation": operation, "account": account, "recipient": recipient, "at": at, **more}
        )

    def find(self, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Those whose fields equal all filters, compared as text."""
        return [e for e in self._made if all(str(e.get(name)) == value for name, value in filters.items())]

    def clear(self) -> None:
        self._made.clear()

"""The judge: every effect that a provider would really have made, however the answer to it ended."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FILTERS = (
    "provider", "operation", "account", "recipient", "reference", "id",
    "reference_prefix", "wa_id", "type", "template", "language", "message_id", "sender", "subject",
)  # fmt: skip
"""Names that `find` takes. Any other is refused: a misspelt filter finds nothing, and nothing looks like a success."""


class UnknownFilterError(ValueError):
    """A filter that no effect can answer."""


class Effects:
    """Kept in order: `{provider, operation, account, recipient, reference, id, at}`, and what a judge may need.

    Nothing is ever dropped, since a judge that forgets is none; a long run clears it now and then.
    """

    def __init__(self) -> None:
        self._made: list[dict[str, Any]] = []

    def made(
        self,
        provider: str,
        operation: str,
        account: str,
        *,
        recipient: str | None,
        reference: str | None,
        id: str,  # noqa: A002 - the ledger's own field name
        **more: Any,
    ) -> None:
        """Record one effect, at the moment at which the provider does it."""
        self._made.append(
            {
                "provider": provider,
                "operation": operation,
                "account": account,
                "recipient": recipient,
                "reference": reference,
                "id": id,
                "at": datetime.now(UTC).isoformat(),
                **more,
            }
        )

    def find(self, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """Those that fit all filters, oldest first. Raises UnknownFilterError."""
        unknown = sorted(set(filters) - set(FILTERS))
        if unknown:
            raise UnknownFilterError(f"no filter {', '.join(unknown)}; allowed are {', '.join(FILTERS)}")
        wanted = dict(filters)
        prefix = wanted.pop("reference_prefix", None)
        return [
            effect
            for effect in self._made
            if all(effect.get(name) == value for name, value in wanted.items())
            and (prefix is None or (effect["reference"] or "").startswith(prefix))
        ]

    def clear(self) -> None:
        self._made.clear()

"""What a campaign came to, as the sandbox's ledger judges it."""

from dataclasses import dataclass, fields
from typing import Self


@dataclass
class Result:
    """`doubled_messages` and `doubled_links`: beyond one for each that was accepted, all of them.

    `explained_…`: those of them for whose own effect an unknown outcome was logged. `handled`: deliveries that changed
    a subscriber's state; `lost_deliveries`: events that did so at one of their subscribers and not at another;
    `handled_twice`: state changes that one message made more than once.
    """

    reservations: int = 0
    lost_reservations: int = 0
    lost_links: int = 0
    lost_messages: int = 0
    lost_deliveries: int = 0
    doubled_reservations: int = 0
    doubled_messages: int = 0
    explained_messages: int = 0
    orphan_links: int = 0
    explained_links: int = 0
    handled: int = 0
    handled_twice: int = 0
    unknown_messages: int = 0
    unknown_links: int = 0

    @property
    def lost(self) -> int:
        return self.lost_reservations + self.lost_links + self.lost_messages + self.lost_deliveries

    @property
    def doubled(self) -> int:
        """Doubles, and links that nobody sees, which no logged unknown outcome explains."""
        unexplained = self.doubled_messages - self.explained_messages + self.orphan_links - self.explained_links
        return self.doubled_reservations + unexplained + self.handled_twice

    @property
    def unknown(self) -> int:
        return self.unknown_messages + self.unknown_links

    def __add__(self, other: "Result") -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        return (
            f"lost {self.lost}, doubled {self.doubled}, doubled after a logged unknown outcome"
            f" {self.explained_messages}, unknown outcomes {self.unknown}, orphan links {self.orphan_links},"
            f" deliveries {self.handled} (twice {self.handled_twice})"
        )

"""What a campaign came to, as the sandbox's ledger judges it."""

from dataclasses import dataclass


@dataclass
class Result:
    reservations: int
    kills: int
    lost_reservations: int = 0
    lost_links: int = 0
    lost_messages: int = 0
    doubled_reservations: int = 0
    doubled_messages: int = 0
    unknown_messages: int = 0
    unknown_links: int = 0
    orphan_links: int = 0

    @property
    def lost(self) -> int:
        return self.lost_reservations + self.lost_links + self.lost_messages

    @property
    def doubled(self) -> int:
        """Doubles that no logged unknown outcome explains."""
        return self.doubled_reservations + max(self.doubled_messages - self.unknown_messages, 0)

"""How fast WhatsApp lets a business number send (developers.facebook.com/…/whatsapp/throughput); off by default."""

from collections import defaultdict, deque
from dataclasses import dataclass, field

PAIR_BURST = 45
PAIR_SECONDS = 6.0
"""One message in 6 s to one user; up to 45 may be sent ahead, and cost the time that they are ahead."""


@dataclass
class Pair:
    """A bucket that fills by one message each 6 s."""

    left: float = PAIR_BURST
    at: float = 0.0


@dataclass
class Limits:
    """Times are seconds of a monotonic clock."""

    sent: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    pairs: dict[tuple[str, str], Pair] = field(default_factory=dict)

    def refusal(self, number: str, to: str, per_second: int, now: float) -> int | None:
        """130429 or 131056 if the message is too early; None if it may go, and then it is counted."""
        recent = self.sent[number]
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if len(recent) >= per_second:
            return 130429
        pair = self.pairs.setdefault((number, to), Pair(at=now))
        pair.left = min(PAIR_BURST, pair.left + (now - pair.at) / PAIR_SECONDS)
        pair.at = now
        if pair.left < 1:
            return 131056
        pair.left -= 1
        recent.append(now)
        return None

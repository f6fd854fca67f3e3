"""Where everything listens on a developer's machine: one table, moved as a whole by PORT_BASE."""

import socket
from dataclasses import dataclass

DEFAULT_BASE = 18000


class PortTaken(Exception):  # noqa: N818 - says what is the case
    """Another program listens where we want to."""


@dataclass(frozen=True)
class Ports:
    """Offsets from the base; services other than the API count up from `services`."""

    base: int

    @property
    def api(self) -> int:
        return self.base

    @property
    def sandbox(self) -> int:
        return self.base + 10

    @property
    def smtp(self) -> int:
        return self.base + 11

    @property
    def services(self) -> int:
        return self.base + 20

    @property
    def database(self) -> int:
        return self.base + 32

    @property
    def amqp(self) -> int:
        """Followed by distribution, epmd, management and metrics of the broker."""
        return self.base + 72

    def check_free(self) -> None:
        """Raises PortTaken and names the port and the remedy."""
        for port in (self.api, self.sandbox, self.smtp, self.database, *range(self.amqp, self.amqp + 5)):
            if in_use(port):
                raise PortTaken(f"port {port} is in use; end that program, or choose others: PORT_BASE=19000 make run")


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_base() -> int:
    """A base whose ports are free right now, for tests that run side by side."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base = probe.getsockname()[1] // 100 * 100
        try:
            if base < 64000:  # noqa: PLR2004 - room for the whole table
                Ports(base).check_free()
                return int(base)
        except PortTaken:
            continue
    raise PortTaken("no block of a hundred free ports was found")

"""Where everything listens on a developer's machine: one table, moved as a whole by PORT_BASE."""

import random
import socket
from dataclasses import dataclass
from itertools import chain

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
        return self.base + 42

    @property
    def prometheus(self) -> int:
        """Followed by Alertmanager, and where Alertmanager looks for others of its kind."""
        return self.base + 45

    @property
    def objects(self) -> int:
        """The first of the eight of the S3-compatible store."""
        return self.base + 50

    @property
    def amqp(self) -> int:
        """Followed by distribution, epmd, management and metrics of the broker."""
        return self.base + 72

    @property
    def gateway(self) -> int:
        """Followed by the inner listener."""
        return self.base + 90

    def check_free(self) -> None:
        """Raises PortTaken and names the port and the remedy."""
        ranges = (
            range(self.services, self.database),
            range(self.prometheus, self.prometheus + 3),
            range(self.objects, self.objects + 8),
            range(self.amqp, self.amqp + 5),
            range(self.gateway, self.gateway + 2),
        )
        for port in (self.api, self.sandbox, self.smtp, self.database, *chain(*ranges)):
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
    """A base whose ports are free right now, for systems that run side by side.

    Below the range that the kernel takes for outgoing connections (net.ipv4.ip_local_port_range, from 32768): in it,
    any connection may take a port before our start, and a client that tries again and again to reach a stopped server
    may even be given that server's port and connect to itself.
    """
    bases = range(10_000, 32_000, 100)
    for base in random.sample(bases, len(bases)):
        try:
            Ports(base).check_free()
        except PortTaken:
            continue
        return base
    raise PortTaken("no block of a hundred free ports was found between 10000 and 32000")

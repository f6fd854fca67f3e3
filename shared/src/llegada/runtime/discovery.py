"""The services that are installed beside this one, by entry point: nobody lists them, nobody imports them."""

from importlib.metadata import entry_points
from typing import Any

from llegada.runtime.service import Service

GROUP = "llegada.services"


class DiscoveryError(Exception):
    """An installed service cannot be loaded, or one that was asked for is not installed."""


def installed() -> dict[str, Service[Any, Any]]:
    """All installed services, sorted by name. A broken one stops the start and is named."""
    found: dict[str, Service[Any, Any]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            service = entry.load()
        except Exception as error:
            raise DiscoveryError(f"service {entry.name} ({entry.value}) cannot be loaded: {error!r}") from error
        if not isinstance(service, Service) or service.name != entry.name:
            raise DiscoveryError(f"{entry.value} must be a Service called {entry.name!r}")
        found[entry.name] = service
    return found


def find(name: str) -> Service[Any, Any]:
    services = installed()
    if name not in services:
        raise DiscoveryError(f"no service is called {name!r}; installed are: {', '.join(services) or 'none'}")
    return services[name]

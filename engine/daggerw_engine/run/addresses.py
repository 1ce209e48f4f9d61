"""Addresses of services in a session's network."""

from __future__ import annotations

from daggerw_engine.run.network import service_address
from daggerw_engine.values.container import AnyService


class Addresses:
    """Address of each service, fixed before it runs."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}

    def of(self, service: AnyService) -> str:
        """Return the address of a service."""
        if service.key not in self._addresses:
            self._addresses[service.key] = service_address(len(self._addresses))
        return self._addresses[service.key]

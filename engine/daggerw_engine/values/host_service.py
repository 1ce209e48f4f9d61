"""Service made of a host's ports."""

from __future__ import annotations

from dataclasses import dataclass

from daggerw_engine.errors import NotOfferedError, ServiceError
from daggerw_engine.keys import key_of
from daggerw_engine.values.config import Port


@dataclass(frozen=True)
class HostService:
    """Ports of a host that the caller's machine reaches, each with its port in the session."""

    host: str
    forwards: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, host: str, ports: list[dict[str, object]]) -> HostService:
        """Return the service for PortForward objects; without a frontend port, it is the backend port."""
        if not ports:
            raise ServiceError("no ports specified: say which ones of the host the service leads to")
        if any(port.get("protocol", "TCP") != "TCP" for port in ports):
            raise NotOfferedError("a host's UDP port as a service")
        pairs = ((port.get("frontend") or port["backend"], port["backend"]) for port in ports)
        return cls(host, tuple((int(str(frontend)), int(str(backend))) for frontend, backend in pairs))

    @property
    def key(self) -> str:
        """Value that represents the service in a cache key."""
        return key_of("host", self.host, list(self.forwards))

    @property
    def label(self) -> str:
        """Name in the progress display."""
        return f"{self.host} {' '.join(str(backend) for _, backend in self.forwards)}"

    @property
    def ports(self) -> tuple[Port, ...]:
        """Ports of the service in the session."""
        return tuple(Port(frontend) for frontend, _ in self.forwards)

"""Configuration of an image, for its commands and in OCI format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STAND_IN_LABEL = "io.dagger.embedded.stand-in"


@dataclass(frozen=True)
class Port:
    """Exposed port."""

    port: int
    protocol: str = "TCP"
    description: str | None = None
    experimental_skip_healthcheck: bool = False

    @property
    def text(self) -> str:
        """Port in OCI format, such as 8080/tcp."""
        return f"{self.port}/{self.protocol.lower()}"


@dataclass(frozen=True)
class Config:
    """Configuration of an image."""

    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()

    @classmethod
    def of_image(cls, config: Mapping[str, object]) -> Config:
        """Return the configuration in an OCI image's `config` object."""

        def words(name: str) -> list[str]:
            found = config.get(name) or []
            return [str(item) for item in found] if isinstance(found, list) else []

        def names(name: str) -> dict[str, object]:
            found = config.get(name) or {}
            return dict(found) if isinstance(found, dict) else {}

        pairs = (item.partition("=") for item in words("Env"))
        ports = (port.partition("/") for port in names("ExposedPorts"))
        return cls(
            env=tuple((key, value) for key, _, value in pairs),
            user=str(config.get("User") or ""),
            workdir=str(config.get("WorkingDir") or ""),
            entrypoint=tuple(words("Entrypoint")),
            args=tuple(words("Cmd")),
            labels=tuple((key, str(value)) for key, value in sorted(names("Labels").items())),
            ports=tuple(Port(int(port), protocol.upper() or "TCP") for port, _, protocol in ports),
        )

    @property
    def key(self) -> object:
        """Value that represents the configuration in a cache key."""
        return [
            self.env,
            self.user,
            self.workdir,
            self.entrypoint,
            self.args,
            self.labels,
            [p.text for p in self.ports],
        ]


def with_pair(
    pairs: tuple[tuple[str, str], ...], name: str, value: str | None
) -> tuple[tuple[str, str], ...]:
    """Return `pairs` with one value set, or removed when `value` is None."""
    found = dict(pairs)
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value
    return tuple(found.items())

"""The service's settings: the only place that knows environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.errors import SettingsError


@dataclass(frozen=True)
class Settings:
    """Where to listen and what to serve. Port 0 takes any free port."""

    port: int = 8080
    model_version: str = "v0.0.0-dev"
    model_dir: Path = Path("model")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read PORT, MODEL_VERSION and MODEL_DIR; an empty variable counts as unset.

        Raises SettingsError when PORT is not a port number.
        """
        return cls(
            port=_port(environment.get("PORT") or str(cls.port)),
            model_version=environment.get("MODEL_VERSION") or cls.model_version,
            model_dir=Path(environment.get("MODEL_DIR") or cls.model_dir),
        )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise SettingsError(f"settings: PORT is {text!r}; set it to a number from 0 to 65535")
    return int(text)

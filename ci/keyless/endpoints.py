"""Addresses of Google's and GitHub's services: their own, unless a file (`--google-endpoints`) has others.

sts = "http://google:8080/sts"
[registries]
"us-central1-docker.pkg.dev" = "http://google:8080"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self
from urllib.parse import urlsplit

from errors import InvalidEndpoints


@dataclass(frozen=True)
class Endpoints:
    """Base addresses, without a slash at the end."""

    sts: str = "https://sts.googleapis.com"
    iamcredentials: str = "https://iamcredentials.googleapis.com"
    artifactregistry: str = "https://artifactregistry.googleapis.com"
    github: str = "https://api.github.com"
    run: str = "https://run.googleapis.com"
    monitoring: str = "https://monitoring.googleapis.com"
    storage: str = "https://storage.googleapis.com"
    registries: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Return what a file's text says, production where it says nothing.

        Raises InvalidEndpoints unless it is TOML of these names with http:// or https:// addresses.
        """
        try:
            given = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError as error:
            raise InvalidEndpoints(f"google endpoints: the file is not TOML: {error}") from error
        known = [each.name for each in fields(cls)]
        if unknown := given.keys() - set(known):
            raise InvalidEndpoints(
                f"google endpoints: no such endpoint: {sorted(unknown)}; there are {', '.join(known)}"
            )
        registries = given.pop("registries", {})
        if not isinstance(registries, dict):
            raise InvalidEndpoints(f"google endpoints: registries is {registries!r}; write it as a table")
        return cls(**_addresses(given), registries=_addresses(registries))

    def registry(self, host: str) -> str:
        """Return the base address for requests to a registry's host."""
        return self.registries.get(host, f"https://{host}")


def _addresses(given: dict[str, Any]) -> dict[str, str]:
    return {name: _address(name, value) for name, value in given.items()}


def _address(name: str, value: object) -> str:
    parts = urlsplit(value) if isinstance(value, str) else None
    if (
        not parts
        or parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise InvalidEndpoints(
            f"google endpoints: {name} is {value!r}; write an address such as 'http://google:8080/{name}'"
        )
    return parts.geturl().rstrip("/")

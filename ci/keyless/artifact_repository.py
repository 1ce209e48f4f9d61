"""Repositories of Google's Artifact Registry, as a registry's address names them."""

import re
from dataclasses import dataclass
from typing import Self

from errors import NotReady

_ADDRESS = re.compile(r"(([a-z0-9-]+)-docker\.pkg\.dev)/([^/]+)/([^/]+)(?:/.*)?")


@dataclass(frozen=True)
class ArtifactRepository:
    """A repository of Artifact Registry."""

    host: str
    location: str
    project: str
    repository: str

    @classmethod
    def of(cls, address: str) -> Self:
        """Return the repository of an address, also of an image's; raises NotReady when it is another one."""
        match = _ADDRESS.fullmatch(address)
        if not match:
            raise NotReady(
                f"{address} is not in Artifact Registry\n"
                "  fix: pass --registry=LOCATION-docker.pkg.dev/PROJECT/REPOSITORY"
            )
        return cls(*match.groups())

    @property
    def path(self) -> str:
        """Path of the repository in Artifact Registry's API."""
        return f"/v1/{self}"

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/repositories/{self.repository}"

    @property
    def names(self) -> dict[str, str]:
        """Names for the commands of an explanation."""
        named = {"host": self.host, "location": self.location, "project": self.project}
        return named | {"repository": self.repository}

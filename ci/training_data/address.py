"""Address of a table that is not in Git: `data` and `sha256` in [tool.milestone2] of pyproject.toml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from errors import InvalidData

FOLDER = "data/fetched"  # where training looks for it: training/reading/fetched.py says the same
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_SECURE, _STORAGE = "https", "gs"


@dataclass(frozen=True)
class TableAddress:
    """Address of a table, and the SHA-256 of its bytes in hexadecimal digits."""

    url: str
    sha256: str

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> Self | None:
        """Return the settings' address, None when their table is a file of the repository.

        Raises InvalidData for an address that nothing can be fetched from, or without its SHA-256.
        """
        data, sha256 = settings.get("data"), settings.get("sha256")
        if not isinstance(data, str) or "://" not in data:
            return None
        _check(data)
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise InvalidData(
                f"data: {data} needs its SHA-256 in [tool.milestone2] of pyproject.toml, such as "
                'sha256 = "…"; `sha256sum FILE` prints the 64 digits'
            )
        return cls(data, sha256)

    @property
    def is_in_storage(self) -> bool:
        """Return whether it is an object of Cloud Storage."""
        return self.url.startswith(f"{_STORAGE}://")

    @property
    def object(self) -> tuple[str, str]:
        """Return bucket and name of an object of Cloud Storage."""
        parts = urlsplit(self.url)
        return parts.netloc, unquote(parts.path.removeprefix("/"))

    @property
    def name(self) -> str:
        """Return the name that the table is kept by: its SHA-256, and the suffix that says what it is."""
        return f"{self.sha256}{PurePosixPath(urlsplit(self.url).path).suffix.lower()}"

    @property
    def path(self) -> str:
        """Return where training finds it, below the project's folder."""
        return f"{FOLDER}/{self.name}"

    def storage_path(self) -> str:
        """Return the object's path in the API: Objects: get of Cloud Storage's JSON API, version 1."""
        bucket, name = self.object
        return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"


def _check(data: str) -> None:
    """Raise InvalidData unless an address is one of https or gs, without a password."""
    try:
        parts = urlsplit(data)
        host, named = parts.hostname, parts.username is not None or parts.password is not None
    except ValueError as error:
        raise InvalidData(f"data: {data!r} is no address: {error}") from error
    problem = ""
    if parts.scheme not in (_SECURE, _STORAGE):
        problem = "has to begin with https:// or gs://"
    elif named or parts.fragment:
        problem = "may have no user, password or fragment"
    elif not host or not parts.path.strip("/"):
        problem = "names no file; write https://HOST/PATH or gs://BUCKET/OBJECT"
    elif parts.scheme == _STORAGE and (parts.query or not _BUCKET.fullmatch(parts.netloc)):
        problem = "names no bucket; write gs://BUCKET/OBJECT"
    if problem:
        raise InvalidData(f"data: {data!r} {problem}")

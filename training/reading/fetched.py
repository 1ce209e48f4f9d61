"""Tables that are not in Git: where the pipeline has put one, by its SHA-256."""

from __future__ import annotations

from hashlib import file_digest
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from app.errors import BadData
from training.settings import Settings

FOLDER = "data/fetched"  # below the project's folder: ci/training_data/address.py says the same


def table_path(settings: Settings, folder: Path) -> Path:
    """Return the table's file: of an address the one that was fetched. Raises BadData without one."""
    if not settings.is_fetched:
        return folder / settings.data
    suffix = PurePosixPath(urlsplit(settings.data).path).suffix.lower()
    path = folder / FOLDER / f"{settings.sha256}{suffix}"
    if not path.is_file():
        raise BadData(
            f"{settings.data} has not been fetched: run `./daggerw call train`, which does, or save the "
            f"file as {FOLDER}/{path.name}"
        )
    return path


def read_sha256(path: Path, expected: str | None) -> str:
    """Return a file's SHA-256 in hexadecimal digits. Raises BadData when it isn't the expected one."""
    with path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if expected not in (None, found):
        raise BadData(f"{path}: has the SHA-256 {found}, pyproject.toml says {expected}")
    return found

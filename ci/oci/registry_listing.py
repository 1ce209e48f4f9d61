"""List of an image's releases in a registry."""

import hashlib
from datetime import UTC, datetime
from functools import partial

from errors import RegistryError
from image import canonical_json
from net.concurrency import together
from oci.manifests import read_descriptor
from oci.repository import Repository

_UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}  # seconds


async def list_releases(repository: Repository, now: datetime | None = None) -> str:
    """Return a line for each tag, the newest image first: tag, digest, age, compressed size."""
    tags = await repository.tags()
    found = await together(*(partial(_image, repository, tag) for tag in tags))
    now = now or datetime.now(UTC)
    rows = [
        (tag, digest, _age((now - made).total_seconds()), f"{size / 1e6:.1f} MB")
        for made, tag, digest, size in sorted(found, reverse=True)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines) or f"{repository.name}: no images"


async def _image(repository: Repository, tag: str) -> tuple[datetime, str, str, int]:
    """Return when an image was made, its tag, digest and size in bytes."""
    content = await repository.manifest(tag)
    try:
        manifest = canonical_json.parse(content)
        digest, size = read_descriptor(manifest["config"])
        config = canonical_json.parse(await repository.document(digest))
        made = datetime.fromisoformat(config["created"])
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        size += sum(read_descriptor(layer)[1] for layer in manifest["layers"])
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise RegistryError(f"registry: {repository.name}:{tag} is no plain image: {error!r:.200}") from error
    return made, tag, f"sha256:{hashlib.sha256(content).hexdigest()}", size


def _age(seconds: float) -> str:
    unit = next((unit for unit, length in _UNITS.items() if seconds >= length), "s")
    return f"{max(0, seconds) // _UNITS[unit]:.0f} {unit}"

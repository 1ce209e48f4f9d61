"""Documents that are attached to a published image, SBOM and provenance, compared with those made anew.

Anybody who may push can attach more of a kind. One document that is right is enough, and what else is
attached makes nothing fail.
"""

from collections.abc import Iterator
from typing import Any

from errors import RegistryError
from image import canonical_json, release_files
from image.archive_reader import MANIFEST
from image.compare import unequal
from oci.manifests import Manifest, Parcel
from oci.repository import Repository

_COMPARED = 3  # documents that are not the right one
_PLACES = ("is said", "is true")
_EARLIER = (
    f"{release_files.SBOM}: it lists no files: an earlier version of this pipeline published the release, "
    "and what that published cannot be verified any more; publish the model again as the next version, and "
    "deploy that"
)


def document(image: bytes, name: str, content: bytes) -> Parcel:
    """Return a release's document about the image of a manifest, as it is published."""
    return Parcel.about(image, release_files.KINDS[name], name, content)


async def differences(repository: Repository, image: bytes, name: str, made: bytes) -> list[str]:
    """Return how what is attached to the image of a manifest differs from a document that was made anew.

    It is nothing when the registry has that very document. Raises RegistryError when that cannot be read.
    """
    kind = release_files.KINDS[name]
    right = document(image, name, made)
    referrers = await repository.referrers(canonical_json.digest(image))
    attached = list(dict.fromkeys(each.digest for each in referrers if each.kind == kind))
    if right.manifest.digest in attached:
        await repository.manifest(right.manifest.digest)
        await repository.document(right.blobs[-1].digest)
        return []
    if not attached:
        return [f"{name}: none is attached; publish this commit again"]
    found = [await _compare(repository, image, name, each, made) for each in attached[:_COMPARED]]
    more = len(attached) - _COMPARED
    return min(found, key=len) + ([f"{name}: {more} more are attached, not compared"] if more > 0 else [])


async def _compare(repository: Repository, image: bytes, name: str, digest: str, made: bytes) -> list[str]:
    """Return how one attached document differs."""
    try:
        manifest = Manifest(MANIFEST, await repository.manifest(digest))
        if not manifest.blobs:
            return [f"{name}: {digest} has no content"]
        content = await repository.document(manifest.blobs[-1].digest)
    except RegistryError as error:
        return [f"{name}: {error.message}"]
    if document(image, name, content).manifest != manifest:
        return [f"{name}: {digest} is not about this image"]
    if name == release_files.SBOM and _lists_no_files(content):
        return [_EARLIER]
    said, true = ((_by_component if name == release_files.SBOM else _parse)(each) for each in (content, made))
    return list(unequal(name, said, true, _PLACES)) or [f"{name}: {digest} says the same in other bytes"]


def _by_component(bill: bytes) -> object:
    """Return a bill of materials with components and files by their names: each is compared with itself."""
    found = _parse(bill)
    try:
        parts = [found["metadata"]["component"], *found["components"]]
        for each in parts:
            each["components"] = {file["name"]: file["hashes"][0]["content"] for file in each["components"]}
        found["components"] = {each["bom-ref"]: each for each in found["components"]}
    except (LookupError, TypeError) as error:
        return f"no bill of materials: {error!r:.100}"
    return found


def _lists_no_files(bill: bytes) -> bool:
    """Return whether a document is a bill of materials none of whose components has files."""
    found = _parse(bill)
    parts = found.get("components") if isinstance(found, dict) else None
    if not isinstance(parts, list):
        return False
    return not any("components" in each for each in parts if isinstance(each, dict))


def _parse(content: bytes) -> Any:
    try:
        return canonical_json.parse(content)
    except ValueError as error:
        return f"no JSON: {error}"


def shorten(problems: list[str], most: int) -> Iterator[str]:
    """Yield the first problems, and how many more there are."""
    yield from problems[:most]
    if len(problems) > most:
        yield f"and {len(problems) - most} more"

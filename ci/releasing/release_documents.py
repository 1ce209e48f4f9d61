"""Documents that are attached to a published image: SBOM and provenance."""

from errors import RegistryError
from image import canonical_json, release_files
from image.archive_reader import MANIFEST
from oci.manifests import Manifest, Parcel
from oci.repository import Repository


async def attached(repository: Repository, image: bytes, name: str) -> bytes:
    """Return the document of a name in release_files.KINDS that is attached to the image of a manifest.

    Raises RegistryError unless there is exactly one, about this very image and no larger than MAX_DOCUMENT.
    """
    kind = release_files.KINDS[name]
    referrers = await repository.referrers(canonical_json.digest(image))
    found = [each.digest for each in referrers if each.kind == kind]
    if len(found) != 1:
        raise RegistryError(f"{name}: {len(found)} are attached, instead of one; publish this commit again")
    manifest = Manifest(MANIFEST, await repository.manifest(found[0]))
    content = await repository.document(manifest.blobs[-1].digest)
    if Parcel.about(image, kind, name, content).manifest != manifest:
        raise RegistryError(f"{name}: {manifest.digest} is not about this image")
    return content

"""Download of an image from a registry, by its digest."""

import tempfile
from pathlib import Path

from errors import RegistryError
from image import archive_reader
from image.archive_writer import Archive
from oci.manifests import MAX_BLOB, Manifest
from oci.repository import Repository


async def pull(repository: Repository, digest: str, archive: Path) -> archive_reader.Layout:
    """Write an image into an archive as an OCI layout, and return it, checked.

    Raises RegistryError when the registry has it not, and InvalidLayout when it is not what the digest says.
    """
    manifest = Manifest(archive_reader.MANIFEST, await repository.manifest(digest))
    if sum(blob.size for blob in manifest.blobs) > MAX_BLOB:
        raise RegistryError(f"registry: {digest} has more than {MAX_BLOB} bytes")
    with Archive.of(archive, manifest.content) as written:
        for blob in manifest.blobs:
            with tempfile.TemporaryFile() as file:
                async for piece in repository.blob(blob.digest, blob.size):
                    file.write(piece)
                size = file.tell()
                file.seek(0)
                written.blob(blob.digest, file, size)
    return archive_reader.read(archive)

"""Download of an image from a registry, by its digest."""

import json
import tempfile
from pathlib import Path

from image import archive_reader
from image.archive_writer import Archive
from oci.repository import Repository


async def pull(repository: Repository, digest: str, archive: Path) -> archive_reader.Layout:
    """Write an image into an archive as an OCI layout, and return it, checked.

    Raises RegistryError when the registry has it not, and InvalidLayout when it is not what the digest says.
    """
    manifest = await repository.manifest(digest)
    content = json.loads(manifest)
    with Archive.of(archive, manifest) as written:
        for blob in {each["digest"]: None for each in (content["config"], *content["layers"])}:
            with tempfile.TemporaryFile() as file:
                async for piece in repository.blob(blob):
                    file.write(piece)
                size = file.tell()
                file.seek(0)
                written.blob(blob, file, size)
    return archive_reader.read(archive)

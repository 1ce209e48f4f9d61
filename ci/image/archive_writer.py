"""Writer of an image into a tar archive as an OCI layout, which `archive_reader.py` reads.

The archive of an image is the same whenever it is written: its own entries have no times and no owners.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from image import canonical_json
from image.archive_reader import INDEX, MANIFEST

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True)
class Archive:
    """An archive that is being written."""

    tar: tarfile.TarFile

    @classmethod
    @contextmanager
    def of(cls, path: Path, manifest: bytes) -> Iterator[Self]:
        """Begin the archive of the image with a manifest; its blobs are to be added."""
        digest = canonical_json.digest(manifest)
        described = {"digest": digest, "mediaType": MANIFEST, "size": len(manifest)}
        with tarfile.open(path, "w") as tar:
            archive = cls(tar)
            archive._add("oci-layout", io.BytesIO(_LAYOUT), len(_LAYOUT))
            archive.document(digest, manifest)
            index = canonical_json.canonical(
                {"manifests": [described], "mediaType": INDEX, "schemaVersion": 2}
            )
            archive._add("index.json", io.BytesIO(index), len(index))
            yield archive

    def document(self, digest: str, content: bytes) -> None:
        """Add a small blob."""
        self.blob(digest, io.BytesIO(content), len(content))

    def blob(self, digest: str, file: IO[bytes], size: int) -> None:
        """Add a blob of that size in bytes, read from where the file stands."""
        self._add(f"blobs/{digest.replace(':', '/')}", file, size)

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        self.tar.addfile(member, file)

"""An image as it comes back from a registry, by its digest."""

import io
import json
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import layout
from registry import Repository

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


async def pull(repository: Repository, digest: str, archive: Path) -> layout.Layout:
    """Write an image into an archive as an OCI layout, and return it, checked.

    Raises RegistryError when the registry has it not, and InvalidLayout when it is not what the digest says.
    """
    manifest = await repository.manifest(digest)
    described = {"mediaType": layout.MANIFEST, "digest": digest, "size": len(manifest)}
    content = json.loads(manifest)
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _LAYOUT)
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [described]}).encode())
        _add(tar, _path(digest), manifest)
        for blob in {each["digest"]: None for each in (content["config"], *content["layers"])}:
            await _add_streamed(tar, _path(blob), repository.blob(blob))
    return layout.read(archive)


async def _add_streamed(tar: tarfile.TarFile, name: str, chunks: AsyncIterator[bytes]) -> None:
    with tempfile.TemporaryFile() as file:
        async for chunk in chunks:
            file.write(chunk)
        member = tarfile.TarInfo(name)
        member.size = file.tell()
        file.seek(0)
        tar.addfile(member, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"

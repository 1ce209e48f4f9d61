"""One image in an OCI image layout, read from the tar archive that an engine exports.

Everything is checked before it is used: an archive that is damaged, ambiguous or too large raises
InvalidLayout. The archive stays where it is, and large blobs are streamed from it.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import InvalidLayout, StandInRefused

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MAX_DOCUMENT = 4 * 1024 * 1024  # what a registry has to take, and the distribution registry's own limit
MAX_MEMBERS = 10_000
MAX_INDEXES = 4
# Set by the embedded engine on whatever came from a base image of its own making.
STAND_IN_LABEL = "io.dagger.embedded.stand-in"
_CHUNK = 1024 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What reading foreign tar and JSON can raise: LookupError and the next when a document has another shape.
_MALFORMED = (OSError, tarfile.TarError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Blob:
    """A piece of an image by its digest, and where it lies in the archive; sizes are in bytes."""

    digest: str
    size: int
    offset: int


@dataclass(frozen=True)
class Layout:
    """An image whose every digest and size has been found to be true.

    `blobs` are the configuration and the layers in their order, each once.
    """

    archive: Path
    digest: str
    manifest: bytes
    blobs: tuple[Blob, ...]

    def chunks(self, blob: Blob) -> Iterator[bytes]:
        """Yield a blob's content in pieces."""
        return _chunks(self.archive, blob)

    @property
    def layers(self) -> tuple[Blob, ...]:
        """The layers, the lowest first; one may be there twice."""
        known = {blob.digest: blob for blob in self.blobs}
        return tuple(known[each["digest"]] for each in json.loads(self.manifest)["layers"])

    @property
    def raw_config(self) -> bytes:
        """The configuration document as it is."""
        blob = self.blobs[0]
        return _content(self.archive, blob.digest, blob.offset, blob.size)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration document, whose members are of the kinds that OCI gives them."""
        try:
            content: dict[str, Any] = json.loads(self.raw_config)
            _check_kinds(content)
        except _MALFORMED as error:
            raise InvalidLayout(
                f"image archive {self.archive}: {self.blobs[0].digest} is no configuration: {error!r:.300}"
            ) from error
        return content

    @property
    def labels(self) -> dict[str, str]:
        """The labels, none when there are none."""
        labels = (self.config.get("config") or {}).get("Labels") or {}
        return {name: str(value) for name, value in labels.items()}

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The base images that only a stand-in was to be had of, none when all are genuine."""
        return tuple(self.labels.get(STAND_IN_LABEL, "").split())


def _check_kinds(content: dict[str, Any]) -> None:
    """Raise TypeError unless what is read of a configuration is of the kind that it has to be."""
    said = content.get("config") or {}
    for name, kind in (("Labels", dict), ("Env", list)):
        if not isinstance(found := said.get(name) or kind(), kind):
            raise TypeError(f"{name} is {found!r:.80}")
    if not all(isinstance(each, str) for each in said.get("Env") or ()):
        raise TypeError("Env has other than texts")


def check_base(image: Layout, *, allow_stand_in: bool) -> None:
    """Raise StandInRefused unless an image comes from genuine base images only, or need not."""
    if image.stand_ins and not allow_stand_in:
        raise StandInRefused(
            f"image: its base is a stand-in for {', '.join(image.stand_ins)}, which only the local registry "
            "takes; build where the real one can be pulled, or push it all the same with --allow-stand-in"
        )


def read(archive: Path) -> Layout:
    """Return the only image in an archive; raises InvalidLayout when there is not exactly one sound image."""
    try:
        files = _files(archive)
        descriptor = _only_image(archive, files)
        manifest = _document(archive, files, descriptor)
        content = json.loads(manifest)
        described = [content["config"], *content["layers"]]
        blobs = {blob.digest: blob for blob in (_blob(files, item) for item in described)}
    except _MALFORMED as error:
        raise InvalidLayout(f"image archive {archive}: not an OCI layout: {error!r}") from error
    for blob in blobs.values():
        _check(archive, blob)
    return Layout(archive, descriptor["digest"], manifest, tuple(blobs.values()))


def _files(archive: Path) -> dict[str, tuple[int, int]]:
    """Return the offset and size of every file by its name; some engines' names start with ./"""
    files: dict[str, tuple[int, int]] = {}
    with tarfile.open(archive, "r:") as tar:
        for count, member in enumerate(tar):
            name = member.name.removeprefix("./")
            if count >= MAX_MEMBERS:
                raise InvalidLayout(f"image archive {archive}: more than {MAX_MEMBERS} entries")
            if name in files:
                raise InvalidLayout(f"image archive {archive}: {name!r} is there twice")
            if member.isreg() and not member.issparse():
                files[name] = (member.offset_data, member.size)
    return files


def _only_image(archive: Path, files: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return the descriptor of the one image manifest that the index leads to, directly or through others."""
    content = _content(archive, "index.json", *files["index.json"])
    for _ in range(MAX_INDEXES):
        images = [item for item in json.loads(content)["manifests"] if not _is_attestation(item)]
        if len(images) != 1:
            raise InvalidLayout(f"image archive {archive}: has {len(images)} images; publish exactly one")
        descriptor: dict[str, Any] = images[0]
        if descriptor["mediaType"] == MANIFEST:
            return descriptor
        if descriptor["mediaType"] != INDEX:
            kind = descriptor["mediaType"]
            raise InvalidLayout(f"image archive {archive}: {kind!r} is no OCI image; export it as OCI")
        content = _document(archive, files, descriptor)
    raise InvalidLayout(f"image archive {archive}: more than {MAX_INDEXES} indexes one in another")


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    """Return whether a manifest only describes its neighbour's build, as BuildKit's do."""
    return (descriptor.get("annotations") or {}).get("vnd.docker.reference.type") == "attestation-manifest"


def _document(archive: Path, files: dict[str, tuple[int, int]], descriptor: dict[str, Any]) -> bytes:
    blob = _blob(files, descriptor)
    content = _content(archive, blob.digest, blob.offset, blob.size)
    _check(archive, blob)
    return content


def _content(archive: Path, name: str, offset: int, size: int) -> bytes:
    if size > MAX_DOCUMENT:
        raise InvalidLayout(f"image archive {archive}: {name} has {size} bytes; {MAX_DOCUMENT} are the most")
    return b"".join(_chunks(archive, Blob(name, size, offset)))


def _blob(files: dict[str, tuple[int, int]], descriptor: dict[str, Any]) -> Blob:
    digest, size = descriptor["digest"], descriptor["size"]
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"digest {digest!r} is not SHA-256")
    offset, length = files[f"blobs/sha256/{digest.removeprefix('sha256:')}"]
    if size != length:
        raise ValueError(f"{digest} has {length} bytes where {size!r} are announced")
    return Blob(digest, length, offset)


def _check(archive: Path, blob: Blob) -> None:
    sha256 = hashlib.sha256()
    for chunk in _chunks(archive, blob):
        sha256.update(chunk)
    found = f"sha256:{sha256.hexdigest()}"
    if found != blob.digest:
        raise InvalidLayout(
            f"image archive {archive}: {blob.digest} has the content of {found}; export again"
        )


def _chunks(archive: Path, blob: Blob) -> Iterator[bytes]:
    left = blob.size
    with archive.open("rb") as file:
        file.seek(blob.offset)
        while chunk := file.read(min(_CHUNK, left)):
            left -= len(chunk)
            yield chunk

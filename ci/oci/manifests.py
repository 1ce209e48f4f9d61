"""Manifests, and images and documents on their way to a registry."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from errors import RegistryError
from image import canonical_json
from image.archive_reader import INDEX, MANIFEST, MAX_DOCUMENT, Blob, Layout

_DOCKER = "application/vnd.docker.distribution.manifest"
INDEXES = (INDEX, f"{_DOCKER}.list.v2+json")
# The tag of a list of referrers where a registry keeps none itself: the image's digest without its colon.
REFERRERS_TAG = re.compile(r"sha256-[0-9a-f]{64}")
EMPTY = "application/vnd.oci.empty.v1+json"
ACCEPT = ", ".join((MANIFEST, f"{_DOCKER}.v2+json", *INDEXES))

MAX_BLOB = 4 * 1024**3  # bytes
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NOTHING = b"{}"
_TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index by its digest, and its media type."""

    kind: str
    content: bytes

    @property
    def digest(self) -> str:
        """The digest of what was really read."""
        return canonical_json.digest(self.content)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object; raises RegistryError when it is none."""
        return json_object(self.content, self.digest)

    @property
    def blobs(self) -> tuple["Blob", ...]:
        """Configuration and layers in their order, each once; an index has none."""
        if self.kind in INDEXES:
            return ()
        described = self._read_blobs("config", "layers")
        return tuple({blob.digest: blob for blob in described}.values())

    @property
    def manifests(self) -> tuple["Blob", ...]:
        """Manifests that an index lists; none for an image."""
        return tuple(self._read_blobs("manifests")) if self.kind in INDEXES else ()

    def _read_blobs(self, *names: str) -> list["Blob"]:
        document = self.document
        try:
            members = [document[name] for name in names]
            descriptors = [each for it in members for each in (it if isinstance(it, list) else [it])]
            return [Blob(*read_descriptor(each), 0) for each in descriptors]
        except (LookupError, TypeError, ValueError) as error:
            raise RegistryError(f"registry: {self.digest} is no image manifest: {error!r:.200}") from error


@dataclass(frozen=True)
class Parcel:
    """An image on its way: its manifest, and how to read its blobs.

    `origin` is the repository that has the blobs already, when that is in the same registry.
    """

    manifest: Manifest
    blobs: tuple[Blob, ...]
    read: Callable[[Blob], AsyncIterator[bytes]]
    origin: str | None = None

    @classmethod
    def of(cls, image: Layout) -> Self:
        """Return the image of an archive, read from there whenever it is needed."""

        async def read(blob: Blob) -> AsyncIterator[bytes]:
            for chunk in image.chunks(blob):
                yield chunk

        return cls(Manifest(MANIFEST, image.manifest), image.blobs, read)

    @classmethod
    def about(
        cls, image: bytes, kind: str, name: str, content: bytes, annotations: Mapping[str, str] | None = None
    ) -> Self:
        """Return a document about the image of a manifest, such as its SBOM, of a media type and a name."""
        described = _descriptor(kind, content)
        manifest = canonical_json.canonical(
            {
                **({"annotations": dict(annotations)} if annotations else {}),
                "artifactType": kind,
                "config": _descriptor(EMPTY, _NOTHING),
                "layers": [{**described, "annotations": {_TITLE: name}}],
                "mediaType": MANIFEST,
                "schemaVersion": 2,
                "subject": _descriptor(MANIFEST, image),
            }
        )
        held = {canonical_json.digest(each): each for each in (_NOTHING, content)}

        async def read(blob: Blob) -> AsyncIterator[bytes]:
            yield held[blob.digest]

        found = Manifest(MANIFEST, manifest)
        return cls(found, found.blobs, read)

    async def content(self, blob: Blob) -> AsyncIterator[bytes]:
        """Yield a blob as it was announced; raises RegistryError when it is of another size."""
        left = blob.size
        async for piece in self.read(blob):
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise RegistryError(
                f"registry: {blob.digest} has {'fewer' if left > 0 else 'more'} bytes than the {blob.size} "
                "that its manifest says; don't use it"
            )


@dataclass(frozen=True)
class Referrer:
    """A manifest that is about an image, such as its signature or bill of materials; size in bytes."""

    digest: str
    kind: str
    size: int


def add_to_index(present: Manifest | None, added: Iterable[Parcel]) -> Manifest:
    """Return the index of referrers, for where a registry keeps none: what it lists already, and more."""
    index = present.document if present else {}
    referrers(index)  # which raises RegistryError for what is no list
    listed = {each["digest"]: each for each in index.get("manifests") or []}
    for manifest in (parcel.manifest for parcel in added):
        document = manifest.document
        kind = {"artifactType": document.get("artifactType"), "mediaType": manifest.kind}
        kind |= {"annotations": document["annotations"]} if document.get("annotations") else {}
        listed[manifest.digest] = {**kind, "digest": manifest.digest, "size": len(manifest.content)}
    index = {
        "manifests": [listed[digest] for digest in sorted(listed)],
        "mediaType": INDEX,
        "schemaVersion": 2,
    }
    return Manifest(INDEX, canonical_json.canonical(index))


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"digest": canonical_json.digest(content), "mediaType": kind, "size": len(content)}


def referrers(index: dict[str, Any]) -> list[Referrer]:
    """Return what an index of referrers lists; raises RegistryError when it is none."""
    try:
        return [_referrer(each) for each in index.get("manifests") or []]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RegistryError(f"registry: the list of referrers is malformed: {error!r:.200}") from error


def _referrer(descriptor: dict[str, Any]) -> Referrer:
    digest, size = read_descriptor(descriptor)
    return Referrer(digest, str(descriptor.get("artifactType") or descriptor["mediaType"]), size)


def read_descriptor(descriptor: dict[str, Any]) -> tuple[str, int]:
    """Return the digest and the size that a descriptor says; raises ValueError or LookupError."""
    digest, size = descriptor["digest"], descriptor["size"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r:.80} is no digest")
    if type(size) is not int or not 0 <= size <= MAX_BLOB:
        raise ValueError(f"{size!r:.40} is no size; {MAX_BLOB} bytes are the most")
    return digest, size


def check_digest(content: bytes, digest: str) -> bytes:
    """Return a content that has the digest; raises RegistryError when it has another one or is too large."""
    if len(content) > MAX_DOCUMENT:
        raise RegistryError(f"registry: {digest} has {len(content)} bytes; {MAX_DOCUMENT} are the most")
    if canonical_json.digest(content) != digest:
        raise RegistryError(
            f"registry: {digest} has the content of {canonical_json.digest(content)}; don't use it"
        )
    return content


def json_object(content: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object; raises RegistryError when the content is something else."""
    try:
        document = canonical_json.parse(content)
    except ValueError as error:
        raise RegistryError(f"registry: {what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RegistryError(f"registry: {what} is no JSON object: {document!r:.80}")
    return document

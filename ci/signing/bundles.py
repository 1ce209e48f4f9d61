"""Sigstore bundles in a registry, attached to an image as cosign 3 attaches and finds them.

Anybody who may push can attach more of them, so that their number says nothing. They are read in the order
of the registry's list, some at once, until the caller stops or a limit of bytes is reached.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from errors import RegistryError, RegistryUnreachable
from image import provenance
from image.archive_reader import MANIFEST
from net.concurrency import together
from oci.manifests import Manifest, Parcel
from oci.repository import Repository

KIND = "application/vnd.dev.sigstore.bundle.v0.3+json"
NAME = "provenance.sigstore.json"
_ANNOTATIONS = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": provenance.PREDICATE,
}
_AT_ONCE = 8
_MOST = 256 * 1024**2  # bytes that are read about one image
_LEAST = 16 * 1024  # bytes that each counts as, since it takes two requests


@dataclass(frozen=True)
class Bundle:
    """A bundle, by the digest of its manifest; it has a problem when it cannot be read."""

    digest: str
    content: bytes = b""
    problem: str = ""


def parcel(image: bytes, bundle: bytes) -> Parcel:
    """Return the signed provenance of the image of a manifest, as it is published."""
    return Parcel.about(image, KIND, NAME, bundle, _ANNOTATIONS)


async def read_attached(
    repository: Repository, digest: str, largest: int, most: int = _MOST
) -> AsyncIterator[Bundle]:
    """Yield the bundles that are attached to an image; none of more than the largest's bytes is read.

    What is wrong with one of them makes nothing fail. Raises RegistryError when they have more than `most`
    bytes together, and RegistryUnreachable.
    """
    listed = await repository.referrers(digest)
    digests, left = list(dict.fromkeys(each.digest for each in listed if each.kind == KIND)), most
    for first in range(0, len(digests), _AT_ONCE):
        if left <= 0:
            raise RegistryError(
                f"signature: the first {first} of {len(digests)} bundles that are attached to {digest} have "
                f"{most} bytes, and none was accepted; delete those that this pipeline has not made"
            )
        reading = [partial(_read, repository, each, largest) for each in digests[first : first + _AT_ONCE]]
        for bundle in await together(*reading):
            left -= max(len(bundle.content), _LEAST)
            yield bundle


async def _read(repository: Repository, digest: str, largest: int) -> Bundle:
    try:
        blob = Manifest(MANIFEST, await repository.manifest(digest)).blobs[-1]
        if blob.size > largest:
            return Bundle(digest, problem=f"it has {blob.size} bytes, and a signature at most {largest}")
        content = b"".join([piece async for piece in repository.blob(blob.digest, blob.size)])
        return Bundle(digest, content)
    except RegistryUnreachable:
        raise
    except RegistryError as error:
        return Bundle(digest, problem=error.message)

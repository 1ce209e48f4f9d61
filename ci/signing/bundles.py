"""Sigstore bundles in a registry, attached to an image as cosign 3 attaches and finds them."""

from errors import RegistryError
from image import provenance
from image.archive_reader import MANIFEST
from oci.manifests import Manifest, Parcel
from oci.repository import Repository

KIND = "application/vnd.dev.sigstore.bundle.v0.3+json"
NAME = "provenance.sigstore.json"
_ANNOTATIONS = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": provenance.PREDICATE,
}
_MOST = 20  # each is fetched and verified


def parcel(image: bytes, bundle: bytes) -> Parcel:
    """Return the signed provenance of the image of a manifest, as it is published."""
    return Parcel.about(image, KIND, NAME, bundle, _ANNOTATIONS)


async def attached(repository: Repository, digest: str) -> list[bytes]:
    """Return the bundles that are attached to an image; raises RegistryError when they are too many."""
    found = [each.digest for each in await repository.referrers(digest) if each.kind == KIND]
    if len(found) > _MOST:
        raise RegistryError(f"signature: {len(found)} bundles are attached to {digest}; {_MOST} are the most")
    manifests = [Manifest(MANIFEST, await repository.manifest(each)) for each in found]
    return [await repository.document(each.blobs[-1].digest) for each in manifests]

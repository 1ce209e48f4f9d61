"""Verification of a published image: canonical form, documents, model, signature.

What the registry has is read, and all of it is made anew from that: layers, configuration, manifest, SBOM and
provenance have to be the same. The signature of the provenance says who published it, when the policy
demands one.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import InvalidLayout, NotVerified, RegistryError
from image import canonical_json, conformance, layer_tree, provenance, release_files, sbom
from image.archive_reader import Layout
from image.canonical import REVISION, VERSION
from image.components import CARD, MODEL
from image.layer_tree import Tree
from oci.image_download import pull
from oci.reference import Release
from oci.repository import Repository
from releasing.release_documents import differences, document, shorten
from signing.verification import Signatures

ARCHIVE = Path("verified.tar")
_SHOWN = 20  # problems


@dataclass(frozen=True)
class Verified:
    """A release that is what it is said to be: what was found, its provenance, its documents' manifests."""

    report: str
    provenance: bytes
    documents: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.report


async def verify_release(
    repository: Repository, release: Release, signatures: Signatures, archive: Path = ARCHIVE
) -> Verified:
    """Return what was found to be true of a release; its image is in the archive then.

    Raises NotVerified with all that is not true.
    """
    try:
        image = await pull(repository, release.digest, archive)
        tagged = await repository.digest(release.image.tag) if release.image.tag else release.digest
        with layer_tree.open_tree(image) as tree:
            bill = sbom.document(image, tree)
            origin = provenance.statement(image, tree, bill)
            wrong = [*conformance.deviations(image, tree), *_tag(image, release), *_model(tree)]
        made = {release_files.SBOM: bill, release_files.PROVENANCE: origin}
        for name, content in made.items():
            wrong += await differences(repository, image.manifest, name, content)
        signature = await _signature(repository, release, signatures, origin, wrong)
    except (RegistryError, InvalidLayout) as error:
        raise NotVerified(f"verify: {release}: {error.message}") from error
    if tagged != release.digest:
        wrong.insert(0, f"tag: {release.image.tag} names {tagged or 'nothing'}")
    if wrong:
        raise NotVerified("\n  ".join([f"verify: {release}:", *shorten(wrong, _SHOWN)]))
    documents = tuple(document(image.manifest, name, made[name]).manifest.digest for name in made)
    report = "\n".join([str(release), *_report(image, bill), f"  {signature}"])
    return Verified(report, origin, documents)


async def _signature(
    repository: Repository, release: Release, signatures: Signatures, origin: bytes, wrong: list[str]
) -> str:
    """Return what signed a release, and add to what is wrong when the policy accepts nothing."""
    try:
        return await signatures.check(repository, release, origin)
    except NotVerified as error:
        wrong.insert(0, error.message)
        return ""


def _tag(image: Layout, release: Release) -> Iterator[str]:
    version = image.labels.get(VERSION)
    if not version or not image.labels.get(REVISION):
        yield f"labels: version {version!r}, commit {image.labels.get(REVISION)!r}"
    if release.image.tag and release.image.tag != version:
        yield f"tag: {release.image.tag}, the label says {version!r}"


def _model(tree: Tree) -> Iterator[str]:
    """Yield what of the model is not as its card says; the pickle of a portable model isn't there."""
    try:
        said = _hashes(canonical_json.parse(tree[CARD].content()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        yield f"{CARD}: is no model card: {error!r:.100}"
        return
    for name, sha256 in said.items():
        path = f"{MODEL}{name}"
        found = tree[path].sha256() if path in tree else "nothing"
        if found != sha256:
            yield f"{path}: {found}, its card says {sha256}"


def _hashes(card: dict[str, object]) -> dict[str, object]:
    """Return the hashes that a model's files have by its card."""
    portable = card.get("portable")
    if isinstance(portable, dict):
        said = {"model.bin" if portable.get("format") == 2 else "model.json": portable["sha256"]}
    else:
        said = {"model.joblib": card["artifact_sha256"]}
    if golden := card.get("golden_sha256"):
        said["golden.json"] = golden
    return said


def _report(image: Layout, bill: bytes) -> list[str]:
    size = sum(blob.size for blob in image.layers) / 1e6
    parts, labels = json.loads(bill)["components"], image.labels
    return [
        f"  image: {len(image.layers)} layers of {size:.1f} MB, the same when made anew",
        f"  {release_files.SBOM}: {len(parts)} components, as in the image",
        f"  {release_files.PROVENANCE}: version {labels[VERSION]}, commit {labels[REVISION]}",
        "  model: as its card says",
    ]

"""Verification of a published image: digests, documents, model, labels.

What the image shows is read anew, and its documents are made anew from that: they have to say the same.
Nothing is signed, so this finds whatever was changed, but not who published it: that is what the registry's
permissions and the provider's attribute condition are for.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import InvalidLayout, NotVerified, RegistryError
from image import layer_tree, provenance, release_files, sbom
from image.archive_reader import Layout
from image.canonical import REVISION, VERSION
from image.compare import unequal
from image.components import CARD, MODEL
from image.layer_tree import Tree
from oci.image_download import pull
from oci.reference import Release
from oci.repository import Repository
from releasing.release_documents import attached

ARCHIVE = Path("verified.tar")
MODEL_VERSION = "MODEL_VERSION"
_SHOWN = 20  # problems
_PLACES = ("is said", "is true")


async def verified(repository: Repository, release: Release) -> str:
    """Return what was found to be true of a release; its image is in ARCHIVE then.

    Raises NotVerified with all that is not true.
    """
    try:
        image = await pull(repository, release.digest, ARCHIVE)
        bill = await attached(repository, image.manifest, release_files.SBOM)
        origin = await attached(repository, image.manifest, release_files.PROVENANCE)
        tagged = await repository.digest(release.image.tag) if release.image.tag else release.digest
        with layer_tree.opened(image) as tree:
            wrong = [*_documents(image, tree, bill, origin), *_labels(image, release), *_model(tree)]
    except (RegistryError, InvalidLayout) as error:
        raise NotVerified(f"verify: {release}: {error}") from error
    if tagged != release.digest:
        wrong.insert(0, f"tag: {release.image.tag} names {tagged or 'nothing'}")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise NotVerified("\n  ".join([f"verify: {release}:", *wrong[:_SHOWN], *more]))
    return "\n".join([str(release), *_report(image, bill)])


def _documents(image: Layout, tree: Tree, bill: bytes, origin: bytes) -> Iterator[str]:
    made = sbom.document(image, tree)
    if bill != made:
        yield from unequal(release_files.SBOM, _by_component(bill), _by_component(made), _PLACES)
    made = provenance.statement(image, tree, bill)
    if origin != made:
        yield from unequal(release_files.PROVENANCE, _parsed(origin), _parsed(made), _PLACES)


def _by_component(bill: bytes) -> object:
    """Return a bill of materials with its components by their names, so that each is held against itself."""
    document = _parsed(bill)
    try:
        document["components"] = {each["bom-ref"]: each for each in document["components"]}
    except (LookupError, TypeError) as error:
        return f"no bill of materials: {error!r}"
    return document


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        return f"no JSON: {error}"


def _labels(image: Layout, release: Release) -> Iterator[str]:
    version = image.labels.get(VERSION)
    variables = dict(each.partition("=")[::2] for each in image.config["config"].get("Env") or ())
    if variables.get(MODEL_VERSION) != version:
        yield f"{MODEL_VERSION}: {variables.get(MODEL_VERSION)!r}, the label says {version!r}"
    if release.image.tag and release.image.tag != version:
        yield f"tag: {release.image.tag}, the label says {version!r}"


def _model(tree: Tree) -> Iterator[str]:
    """Yield what of the model is not as its card says; the pickle of a portable model isn't there."""
    card = json.loads(tree[CARD].content())
    portable = card.get("portable")
    said = {"model.json": portable["sha256"]} if portable else {"model.joblib": card["artifact_sha256"]}
    if golden := card.get("golden_sha256"):
        said["golden.json"] = golden
    for name, sha256 in said.items():
        path = f"{MODEL}{name}"
        found = tree[path].sha256() if path in tree else "nothing"
        if found != sha256:
            yield f"{path}: {found}, its card says {sha256}"


def _report(image: Layout, bill: bytes) -> list[str]:
    size = sum(blob.size for blob in image.layers) / 1e6
    parts = json.loads(bill)["components"]
    return [
        f"  image: {len(image.layers)} layers of {size:.1f} MB, every digest as said",
        f"  {release_files.SBOM}: {len(parts)} components, as in the image",
        f"  {release_files.PROVENANCE}: version {image.labels[VERSION]}, commit {image.labels[REVISION]}",
        "  model: as its card says",
    ]

"""Provenance of an image: SLSA v1 in an in-toto statement, the same bytes for the same image.

https://slsa.dev/spec/v1.0/provenance. Neither a time nor a run's id is in it, as these differ from build to
build. It binds the bill of materials, and holds the model's card and golden rows, so that a judge of a
running release need not ask that release for them.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from errors import InvalidLayout
from image import canonical_json
from image.archive_reader import STAND_IN_LABEL, Layout
from image.canonical import BASE_DIGEST, BASE_NAME, DIRTY, REVISION, TITLE, VERSION
from image.components import CARD, MODEL, REQUIREMENTS
from image.layer_tree import Tree

KIND = "application/vnd.in-toto+json"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
BUILD_TYPE, BUILDER = "urn:milestone2:release:v1", "urn:milestone2:ci"
GOLDEN = f"{MODEL}golden.json"


def statement(image: Layout, tree: Tree, sbom: bytes) -> bytes:
    """Return the provenance of a canonical image, whose opened tree and bill of materials are given."""
    labels = image.labels
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"tag": labels.get(VERSION, "")},
        "internalParameters": {},
        "resolvedDependencies": [
            _commit(labels.get(REVISION, "")),
            _base(labels),
            *(_file(tree, path) for path in tree if REQUIREMENTS.fullmatch(path)),
            _data(tree),
        ],
    }
    listed = {"digest": _sha256(canonical_json.digest(sbom)), "name": "sbom"}
    model = [_file(tree, path) for path in tree if path.startswith(MODEL) and tree[path].kind == "file"]
    details = {"builder": {"id": BUILDER}, "byproducts": [listed, *model]}
    return canonical_json.canonical(
        {
            "_type": STATEMENT,
            "predicate": {"buildDefinition": definition, "runDetails": details},
            "predicateType": PREDICATE,
            "subject": [{"digest": _sha256(image.digest), "name": labels.get(TITLE, "")}],
        }
    )


def content(statement: Mapping[str, Any], path: str) -> bytes | None:
    """Return a file that a provenance holds, such as GOLDEN; None when it holds no such file."""
    for each in statement["predicate"]["runDetails"]["byproducts"]:
        if each["name"] == path and "content" in each:
            return base64.b64decode(each["content"], validate=True)
    return None


def _commit(revision: str) -> dict[str, Any]:
    commit = {"digest": {"gitCommit": revision.removesuffix(DIRTY)}, "name": "commit"}
    return {**commit, "annotations": {"dirty": True}} if revision.endswith(DIRTY) else commit


def _base(labels: Mapping[str, str]) -> dict[str, Any]:
    name, digest = labels.get(BASE_NAME, ""), labels.get(BASE_DIGEST, "")
    base = {"digest": _sha256(digest), "name": "base image", "uri": f"docker://{name}"}
    return {**base, "annotations": {"standIn": True}} if STAND_IN_LABEL in labels else base


def _data(tree: Tree) -> dict[str, Any]:
    try:
        card = json.loads(tree[CARD].content())
        data = {"digest": {"sha256": card["data_sha256"]}, "name": "data"}
        return data | ({"uri": card["data_uri"]} if card.get("data_uri") else {})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidLayout(f"image: {CARD} is no model card: {error!r}") from error


def _file(tree: Tree, path: str) -> dict[str, Any]:
    """Describe a file of the image; files that describe the model are held whole."""
    described: dict[str, Any] = {"digest": {"sha256": tree[path].sha256()}, "name": path}
    if path in (CARD, GOLDEN):
        described["content"] = base64.b64encode(tree[path].content()).decode()
    return described


def _sha256(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}

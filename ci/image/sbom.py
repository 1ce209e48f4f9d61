"""The bill of materials of an image: CycloneDX 1.6 in JSON, all of it read from the image itself.

The same image gives the same bytes: the serial number is made of the digest, the time is the commit's.
https://cyclonedx.org/docs/1.6/json/
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from errors import InvalidLayout
from image import canonical_json, components
from image.archive_reader import Layout
from image.canonical import CREATED, TITLE, VERSION
from image.components import Component
from image.layer_tree import Tree

KIND = "application/vnd.cyclonedx+json"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: *\\\n *--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_OWN = "milestone2:"

Hashes = Mapping[tuple[str, str], list[str]]


def document(image: Layout, tree: Tree) -> bytes:
    """Return the bill of materials of a canonical image whose opened tree is given."""
    labels = image.labels
    found = components.components(tree, labels.get(TITLE, ""), labels.get(VERSION, ""))
    pins = read_pins(tree)
    main, *others = (_component(each, paths, tree, pins) for each, paths in found.items())
    main["hashes"] = [_sha256(image.digest.removeprefix("sha256:"))]
    others.sort(key=lambda each: str(each["bom-ref"]))
    return canonical_json.canonical(
        {
            "bomFormat": "CycloneDX",
            "components": others,
            "dependencies": [{"dependsOn": [each["bom-ref"] for each in others], "ref": main["bom-ref"]}],
            "metadata": {"component": main, "timestamp": labels.get(CREATED, "")},
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, image.digest)}",
            "specVersion": "1.6",
            "version": 1,
        }
    )


def read_pins(tree: Tree) -> Hashes:
    """Return the hashes of the files that a name and version may be installed from, by the image's lists."""
    texts = (tree[path].content().decode() for path in tree if components.REQUIREMENTS.fullmatch(path))
    return {
        (re.sub(r"[-_.]+", "-", name).lower(), version): _HASH.findall(hashes)
        for text in texts
        for name, version, hashes in _PIN.findall(text)
    }


def _component(component: Component, paths: Iterable[str], tree: Tree, pins: Hashes) -> dict[str, Any]:
    described: dict[str, Any] = {
        "bom-ref": component.purl,
        "components": _files(paths, tree),
        "name": component.name,
        "properties": _properties(component),
        "purl": component.purl,
        "type": component.kind,
        "version": component.version,
    }
    if component.expression:
        described["licenses"] = [{"expression": component.expression}]
    elif component.licences:
        described["licenses"] = [{"license": {"name": name}} for name in component.licences]
    if component.purl.startswith("pkg:pypi/"):
        described["externalReferences"] = [_distribution(component, pins)]
    return described


def _distribution(component: Component, pins: Hashes) -> dict[str, Any]:
    if not (hashes := pins.get((component.name, component.version))):
        raise InvalidLayout(
            f"image: {component.name} {component.version} is installed, but no app/requirements.txt pins it"
        )
    return {
        "comment": "one of these files is installed",
        "hashes": [_sha256(each) for each in sorted(hashes)],
        "type": "distribution",
        "url": component.purl,
    }


def _files(paths: Iterable[str], tree: Tree) -> list[dict[str, Any]]:
    """Describe a component's files, so that one that was changed can be named."""
    hashed = ((path, tree[path].sha256()) for path in sorted(paths))
    return [{"hashes": [_sha256(sha256)], "name": path, "type": "file"} for path, sha256 in hashed]


def _properties(component: Component) -> list[dict[str, str]]:
    return [{"name": f"{_OWN}source", "value": component.source}] if component.source else []


def _sha256(hexadecimal: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hexadecimal}

"""Conformance of an image: to the one platform, and to the canonical form, remade from what the image shows.

Layers are compared uncompressed, as another zlib may compress differently. A second rule is what the
Dockerfile sets: an image may run as nothing else, however canonical it is.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import IO, Any

from errors import PlatformRefused
from image import canonical, canonical_json, layer_archive, layer_tree
from image.archive_reader import Blob, Layout
from image.canonical import VERSION, Origin
from image.compare import unequal
from image.layer_archive import Member
from image.layer_tree import Entry, Tree

OS, ARCHITECTURE = "linux", "amd64"
PLATFORM = f"{OS}/{ARCHITECTURE}"
# What the Dockerfile sets, for both of its images.
RUNTIME: Mapping[str, object] = {
    "Entrypoint": ["/venv/bin/python", "-m", "app"],
    "ExposedPorts": {"8080/tcp": {}},
    "User": "65532:65532",
    "WorkingDir": "/app",
}
VARIABLES = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
MODEL_VERSION = "MODEL_VERSION"
PLACES = ("in the registry", "by the rule")
_CHUNK = 1024 * 1024
_NAMES = {
    tarfile.DIRTYPE: "folder",
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.SYMTYPE: "link",
}


def platform_of(image: Layout) -> str:
    """Return the platform that an image says it is for, as OS/ARCHITECTURE."""
    return f"{image.config.get('os')}/{image.config.get('architecture')}"


def check_platform(image: Layout) -> None:
    """Raise PlatformRefused for an image of another platform, which would take the tag and start nowhere."""
    if (found := platform_of(image)) != PLATFORM:
        raise PlatformRefused(
            f"image: it is for {found}, and releases are for {PLATFORM}, the only one that Cloud Run starts; "
            "build it by this pipeline, which names the platform in every step"
        )


def check_machine(machine: str) -> None:
    """Raise PlatformRefused for an engine on a machine of another platform.

    An emulated processor lacks vector units such as AVX2, so that training rounds differently: the commit
    would have another model, and another digest, than where it is built by CI.
    """
    if machine != PLATFORM:
        raise PlatformRefused(
            f"machine: the engine runs on {machine} and emulates {PLATFORM}, where training rounds "
            "differently: this commit would get another digest than in CI\n"
            "  fix: git tag the version and push the tag, so that CI publishes it; or use an engine on "
            f"{PLATFORM}; without --registry it is published locally"
        )


def deviations(image: Layout, tree: Tree) -> Iterator[str]:
    """Yield what of an image is not as the canonical form, and the Dockerfile, would have it."""
    parts = canonical.cut(tree)
    diff_ids = {name: canonical.diff_id(entries) for name, entries in parts.items()}
    for number, (blob, name) in enumerate(zip_longest(image.layers, parts), 1):
        yield from _layer(image, number, blob, name, parts.get(name or "", []), diff_ids.get(name or "", ""))
    yield from _settings(image)
    config = canonical.configuration(image, Origin.of(image.labels), diff_ids)
    yield from _document("configuration", image.raw_config, config)
    yield from _document("manifest", image.manifest, canonical.manifest(image.raw_config, image.layers))


def _document(name: str, found: bytes, made: bytes) -> Iterator[str]:
    if found != made:
        differing = list(unequal(name, canonical_json.parse(found), canonical_json.parse(made), PLACES))
        yield from differing or [f"{name}: the same in other bytes than the canonical ones"]


def _settings(image: Layout) -> Iterator[str]:
    """Yield what an image runs as, and the Dockerfile does not say."""
    said: Mapping[str, Any] = image.config.get("config") or {}
    for name in (each for each in canonical.KEPT if each != "Labels"):
        yield from unequal(name, said.get(name) or None, RUNTIME.get(name), PLACES)
    variables = dict(str(each).partition("=")[::2] for each in said.get("Env") or ())
    expected = {**VARIABLES, MODEL_VERSION: image.labels.get(VERSION, "")}
    yield from unequal("variable", variables, expected, PLACES)
    yield from unequal("platform", platform_of(image), PLATFORM, PLACES)


def _layer(
    image: Layout, number: int, blob: Blob | None, name: str | None, entries: list[Entry], diff_id: str
) -> Iterator[str]:
    """Yield how a layer deviates from the one of the canonical form."""
    where = f"layer {number} ({name})" if name else f"layer {number}"
    if blob is None:
        yield f"{where}: is missing"
        return
    with layer_tree.open_layer(image, blob) as (layer, end):
        begin = layer.tell()
        if _digest(layer, end) == diff_id:
            return
        layer.seek(begin)
        found = list(_entries(layer, end, {each.path: each for each in entries}))
    if name is None:
        yield f"{where}: is no layer of the canonical form"
    found = found or ["the same entries in another order, or with more after them"]
    yield from (f"{where}: {each}" for each in found)


def _digest(layer: IO[bytes], end: int) -> str:
    sha256 = hashlib.sha256()
    while piece := layer.read(min(_CHUNK, end - layer.tell())):
        sha256.update(piece)
    return f"sha256:{sha256.hexdigest()}"


def _entries(layer: IO[bytes], end: int, expected: Mapping[str, Entry]) -> Iterator[str]:
    """Yield what is wrong with each of a layer's entries, and which are missing."""
    seen: set[str] = set()
    for member in layer_archive.members(layer, end):
        if member.path in seen:
            yield f"{member.path}: is there twice"
        seen.add(member.path)
        if member.path not in expected:
            yield f"{member.path or '/'}: belongs in no such layer"
        else:
            yield from _header(member, expected[member.path], layer)
    yield from (f"{path}: is missing" for path in expected if path not in seen)


def _header(member: Member, entry: Entry, layer: IO[bytes]) -> Iterator[str]:
    found, made = member.header, canonical.header(entry)
    for what, one, other in (
        ("kind", _NAMES.get(found.type, "hard link"), entry.kind),
        ("mode", f"{found.mode:o}", f"{made.mode:o}"),
        ("owner", f"{found.uid}:{found.gid} {found.uname}:{found.gname}", "0:0 :"),
        ("time", found.mtime, 0),
        ("target", found.linkname, made.linkname),
        ("name", found.name, made.name),
        ("size", found.size, made.size),
        ("attributes", _attributes(found), ""),
    ):
        if one != other:
            yield f"{member.path}: {what} {one} in the registry, {other} by the rule"
    if found.isreg() and found.size == entry.size and _content(layer, found) != entry.sha256():
        yield f"{member.path}: other content than a layer above it"


def _attributes(found: tarfile.TarInfo) -> str:
    """Return the extended attributes of an entry, such as capabilities."""
    return ", ".join(sorted(name for name in found.pax_headers if name not in ("path", "linkpath", "size")))


def _content(layer: IO[bytes], found: tarfile.TarInfo) -> str:
    entry = Entry(found.name, "file", stored=layer, offset=found.offset_data, size=found.size)
    return entry.sha256()

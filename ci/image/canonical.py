"""Canonical form of an image: equal content has one digest, whichever engine built it, when and where.

The rule; to change a part of it changes every digest:

- Layers: what the image shows is cut by its top folder (CUTS), so that a change of the service moves its own
  layer only. Entries are sorted by path, hard links become files of their own, and there is nothing but
  folders, files and symbolic links.
- Entries: owner 0:0, mode 755 for folders and what its owner may execute, 644 for the rest, time 0. The
  commit's time would move every layer with every commit; it stands in the configuration instead.
- Compression: gzip by zlib at LEVEL. Versions of zlib may compress differently, so this runs in the pinned
  base image.
- Configuration: what is in KEPT; all variables but PATH, which only some engines add and nothing here needs;
  OCI's own labels and the mark of a stand-in base. Keys are sorted.
"""

import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

from image import archive_reader, canonical_json
from image.archive_reader import MANIFEST, STAND_IN_LABEL, Blob, Layout
from image.archive_writer import Archive
from image.layer_tree import Entry, Tree

CUTS = {"venv": "dependencies", "app": "service and model"}
LOWEST = "interpreter"
LEVEL = 4
DIRTY = "-dirty"  # ends the revision of what is more than a commit
KEPT = ("Cmd", "Entrypoint", "ExposedPorts", "StopSignal", "User", "Volumes", "WorkingDir")
OCI_LABELS = "org.opencontainers.image."
TITLE, VERSION = f"{OCI_LABELS}title", f"{OCI_LABELS}version"
CREATED, REVISION = f"{OCI_LABELS}created", f"{OCI_LABELS}revision"
BASE_NAME, BASE_DIGEST = f"{OCI_LABELS}base.name", f"{OCI_LABELS}base.digest"
CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"
_BLOCK = 64 * 1024  # tarfile copies all that it has gathered again and again, up to so much
_GZIP_FORMAT = 31  # zlib's word for a gzip stream


@dataclass(frozen=True)
class Origin:
    """Origin of an image: a commit, and the base image NAME@sha256:….

    `revision` ends with DIRTY when more than the commit was built; `created` is its time, RFC 3339 in UTC.
    """

    revision: str
    created: str
    base: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self:
        """Return what the labels of a canonical image say."""
        base = f"{labels.get(BASE_NAME, '')}@{labels.get(BASE_DIGEST, '')}"
        return cls(labels.get(REVISION, ""), labels.get(CREATED, ""), base)


@dataclass(frozen=True)
class _Packed:
    """A layer as it goes into the image."""

    name: str
    file: IO[bytes]
    diff_id: str
    blob: Blob


def write(image: Layout, tree: Tree, origin: Origin, archive: Path) -> Layout:
    """Write the canonical form of an image, whose opened tree is given, into an archive, and return it."""
    with ExitStack() as stack:
        parts = cut(tree)
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in parts]
        with ThreadPoolExecutor() as pool:
            layers = list(pool.map(_pack, parts, parts.values(), files))
        config = configuration(image, origin, {layer.name: layer.diff_id for layer in layers})
        content = manifest(config, [layer.blob for layer in layers])
        with Archive.of(archive, content) as written:
            written.document(canonical_json.digest(config), config)
            for layer in layers:
                written.blob(layer.blob.digest, layer.file, layer.blob.size)
    return archive_reader.read(archive)


def cut(tree: Tree) -> dict[str, list[Entry]]:
    """Return the layers by their names, the lowest first, none of them empty."""
    parts: dict[str, list[Entry]] = {name: [] for name in (LOWEST, *CUTS.values())}
    for path in sorted(tree):
        parts[layer_of(path)].append(tree[path])
    return {name: entries for name, entries in parts.items() if entries}


def layer_of(path: str) -> str:
    """Return the name of the layer that a path is in."""
    return CUTS.get(path.split("/")[0], LOWEST)


def diff_id(entries: Iterable[Entry]) -> str:
    """Return the digest of the uncompressed layer that has these entries."""
    hashed = _Hashed()
    _write(entries, hashed)
    return f"sha256:{hashed.sha256.hexdigest()}"


def header(entry: Entry) -> tarfile.TarInfo:
    """Return the header that an entry has in a layer."""
    made = tarfile.TarInfo(entry.path)
    made.size = entry.size
    made.mode = 0o755 if entry.kind == "folder" or entry.executable else 0o644
    if entry.kind == "folder":
        made.type = tarfile.DIRTYPE
    elif entry.kind == "link":
        made.type, made.linkname, made.mode = tarfile.SYMTYPE, entry.target, 0o777
    return made


def configuration(image: Layout, origin: Origin, diff_ids: Mapping[str, str]) -> bytes:
    """Return the configuration of an image whose layers have these digests by their names."""
    given = image.config
    said = given.get("config") or {}
    config = {name: said[name] for name in KEPT if said.get(name)}
    config["Env"] = sorted(variable for variable in said.get("Env") or () if not variable.startswith("PATH="))
    config["Labels"] = _labels(image.labels, origin)
    return canonical_json.canonical(
        {
            "architecture": given.get("architecture"),
            "config": config,
            "created": origin.created,
            "history": [{"created": origin.created, "created_by": layer} for layer in diff_ids],
            "os": given.get("os"),
            "rootfs": {"diff_ids": list(diff_ids.values()), "type": "layers"},
        }
    )


def manifest(config: bytes, layers: Iterable[Blob]) -> bytes:
    """Return the manifest of a configuration and of packed layers."""
    described = {"digest": canonical_json.digest(config), "mediaType": CONFIG, "size": len(config)}
    return canonical_json.canonical(
        {
            "config": described,
            "layers": [{"digest": each.digest, "mediaType": LAYER, "size": each.size} for each in layers],
            "mediaType": MANIFEST,
            "schemaVersion": 2,
        }
    )


class _Hashed:
    """A file to write to that only hashes."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        return len(content)


class _Gzip:
    """Output of a tar: compressed into a file, and hashed on both sides."""

    def __init__(self, file: IO[bytes]) -> None:
        self.diff_id, self.digest = hashlib.sha256(), hashlib.sha256()
        self._file, self._stream = file, zlib.compressobj(LEVEL, wbits=_GZIP_FORMAT)

    def write(self, content: bytes) -> int:
        self.diff_id.update(content)
        self._keep(self._stream.compress(content))
        return len(content)

    def finish(self) -> int:
        """Return the size in bytes of all that was written, and stand at its begin."""
        self._keep(self._stream.flush())
        size = self._file.tell()
        self._file.seek(0)
        return size

    def _keep(self, compressed: bytes) -> None:
        self.digest.update(compressed)
        self._file.write(compressed)


def _pack(name: str, entries: Iterable[Entry], file: IO[bytes]) -> _Packed:
    out = _Gzip(file)
    _write(entries, out)
    size = out.finish()
    blob = Blob(f"sha256:{out.digest.hexdigest()}", size, 0)
    return _Packed(name, file, f"sha256:{out.diff_id.hexdigest()}", blob)


def _write(entries: Iterable[Entry], out: "_Gzip | _Hashed") -> None:
    """Write the tar of a layer."""
    # It only needs what can be written to.
    with tarfile.open(mode="w|", fileobj=cast("IO[bytes]", out), bufsize=_BLOCK) as tar:
        for entry in entries:
            tar.addfile(header(entry), entry.reader())


def _labels(given: Mapping[str, str], origin: Origin) -> dict[str, str]:
    own = (label for label in given if label.startswith(OCI_LABELS) or label == STAND_IN_LABEL)
    name, _, digest = origin.base.partition("@")
    return {
        **{label: given[label] for label in own},
        **{CREATED: origin.created, REVISION: origin.revision, BASE_NAME: name, BASE_DIGEST: digest},
    }

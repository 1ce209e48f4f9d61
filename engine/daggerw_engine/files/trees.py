"""Content-addressed folders: the engine's Directory and File values on disk.

A tree is `root`, a read-only folder, beside `list`, whose SHA-256 is the tree's name. Equal content is one
tree, and a cache key needs only the name. Times count only when they were forced.

Two trees share an unchanged file as a hard link, always at the same path: within one tree no two files are
the same inode, which programs would notice. A tree's file is never modified.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from daggerw_engine.errors import PathError
from daggerw_engine.files.copying import clear, copy_entry, copy_into, link_all
from daggerw_engine.files.listing import (
    EVERYTHING,
    ROOT,
    Entry,
    Listing,
    Owner,
    entries,
    file_digest,
    force_time,
    head_of,
    time_in,
)
from daggerw_engine.files.paths import find_existing
from daggerw_engine.files.patterns import Filter
from daggerw_engine.files.upload import Before, Found
from daggerw_engine.results import Results


@dataclass(frozen=True)
class Place:
    """Folder or file inside a tree: an evaluated Directory or File."""

    digest: str
    root: Path
    path: str = "/"

    @property
    def on_disk(self) -> Path:
        """Path of the folder or file."""
        return find_existing(self.root, self.path)

    @property
    def listing(self) -> Listing:
        """List of the folder's content."""
        return _read_listing(self.root, self.path.strip("/"))

    @property
    def key(self) -> str:
        """Value that represents the content in a cache key: equal content has an equal key."""
        if self.path == "/":
            return self.digest
        return (
            _read_listing(self.root, "").heads[self.path[1:]]
            if self.on_disk.is_file()
            else self.listing.digest
        )

    def below(self, path: str) -> Place:
        """Return the place at a relative path; PathError when nothing is there."""
        found = find_existing(self.root, f"{self.path.rstrip('/')}/{path}")
        return Place(self.digest, self.root, str(PurePosixPath("/", found.relative_to(self.root))))


@lru_cache(maxsize=16)
def _read_listing(root: Path, path: str) -> Listing:
    text = root.with_name("list").read_bytes().decode(errors="surrogateescape")
    return _read_listing(root, "").below(path) if path else Listing(text)


@dataclass(frozen=True)
class Trees:
    """Trees of one cache folder; `scratch` is the session's folder, on the same file system."""

    folder: Path
    scratch: Path
    _bases: dict[Path, Place] = field(default_factory=dict)

    def get(self, digest: str) -> Place | None:
        """Return the tree with this digest if it exists, and mark it as used now."""
        if not (self.folder / digest / "list").exists():
            return None
        os.utime(self.folder / digest)
        return Place(digest, self.folder / digest / "root")

    def new_folder(self) -> Path:
        """Return a new folder to fill and pass to `adopt`, on the file system of the trees."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch), "root")
        folder.mkdir()
        return folder

    def copy(self, place: Place, kept: Filter = EVERYTHING) -> Path:
        """Return a new folder with a place's filtered content, for `adopt`.

        Its files are hard links to the place's: replace a file to change it.
        """
        folder, source = self.new_folder(), place.on_disk
        link_all(source, folder, entries(source, kept))
        self._bases[folder] = place
        return folder

    def adopt(self, folder: Path) -> Place:
        """Move a filled folder of `new_folder` or `copy` into the trees."""
        base = self._bases.pop(folder, None)
        heads = base.listing.heads if base else {}
        source = base.on_disk if base else folder

        def head(path: str, entry: Entry) -> str:
            known = heads.get(path, "")
            if entry.is_dir(follow_symlinks=False):
                made, forced = head_of(entry, file_digest), time_in(known)
                return force_time(made, forced) if forced else made
            same = known and os.lstat(f"{source}/{path}").st_ino == entry.inode()
            return known if same else head_of(entry, file_digest)

        return self._keep(folder, Listing.of((head(path, entry), path) for path, entry in entries(folder)))

    def _keep(self, folder: Path, listing: Listing) -> Place:
        folder.chmod(0o755)
        folder.with_name("list").write_bytes(listing.file_bytes)
        digest = listing.digest
        try:
            folder.parent.rename(self.folder / digest)
        except OSError:  # it exists already, or another session was first
            if not (self.folder / digest).is_dir():
                raise
            shutil.rmtree(folder.parent)
            os.utime(self.folder / digest)
        return Place(digest, self.folder / digest / "root")

    def upload(self, source: Path, kept: Filter = EVERYTHING) -> Place:
        """Keep a copy of a host folder, owned by root; files unchanged since the last upload are not read.

        Raises PathError when `source` is not a folder.
        """
        _require_kind(source, source.is_dir(), "a directory")
        source = source.resolve()
        uploads = Results(self.folder.with_name("uploads"), self.scratch)
        before = Before.of(uploads, source, kept)
        base = self.get(before.tree)
        found = Found.of(
            source, kept.of_host(source), before.stamps if base else {}, base.listing.heads if base else {}
        )
        folder = self.new_folder()
        listing = found.take_changed(folder)
        if place := self.get(listing.digest):
            shutil.rmtree(folder.parent)
        else:
            found.complete(folder, base.root if base else folder)
            place = self._keep(folder, listing)
        before.keep(uploads, place.digest, found.stamps)
        return place

    def upload_file(self, source: Path) -> Place:
        """Keep a copy of a host file, owned by root; PathError when it is not a file."""
        return self.ingest_file(source, owner=ROOT)

    def force_time(self, place: Place, seconds: int) -> Place:
        """Return a place with all its times set, in seconds; they become part of its content."""
        folder = self.new_folder()
        name = "" if place.on_disk.is_dir() else Path(place.path).name
        copy = copy_entry if name else copy_into
        copy(place.on_disk, folder / name)
        found = entries(folder)
        for _, entry in found:
            os.utime(entry.path, (seconds, seconds), follow_symlinks=False)
        heads = ((force_time(head_of(entry, file_digest), seconds), path) for path, entry in found)
        return self._keep(folder, Listing.of(heads)).below(name)

    def ingest(self, source: Path) -> Place:
        """Keep a copy of the folder `source`; PathError when it is not a folder."""
        _require_kind(source, source.is_dir(), "a directory")
        folder = self.new_folder()
        copy_into(source, folder)
        return self.adopt(folder)

    def merge_overlay(self, base: Place, root: Path, changed: Path) -> Place:
        """Keep an overlay's content, mounted at `root`: files of `base`, or of `changed` if there."""
        folder = self.new_folder()
        found = entries(root)
        new = {
            path: entry
            for path, entry in found
            if os.path.lexists(f"{changed}/{path}") and not entry.is_dir(follow_symlinks=False)
        }
        link_all(base.on_disk, folder, [item for item in found if item[0] not in new])
        for path, entry in new.items():
            copy_entry(Path(entry.path), folder / path)
        self._bases[folder] = base
        return self.adopt(folder)

    def whole(self, place: Place) -> Place:
        """Return a folder of a tree as a separate tree."""
        return place if place.path == "/" else self.adopt(self.copy(place))

    def ingest_file(self, source: Path, name: str | None = None, owner: Owner | None = None) -> Place:
        """Keep a copy of the file `source`, under `name` when given; PathError when it is not a file."""
        _require_kind(source, source.is_file(), "a file")
        folder, name = self.new_folder(), file_name(name or source.name)
        copy_entry(source, folder / name, owner)
        return self.adopt(folder).below(name)

    def write_file(self, name: str, contents: str, permissions: int) -> Place:
        """Keep a new file."""
        folder = self.new_folder()
        write_new(folder / file_name(name), contents, permissions)
        return self.adopt(folder).below(name)


def write_new(target: Path, contents: str, permissions: int) -> None:
    """Replace a file; other hard links to the old one keep its content."""
    clear(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(contents.encode(errors="surrogateescape"))
    target.chmod(permissions)


def file_name(name: str) -> str:
    """Return the name of a file; PathError when it names another folder."""
    if not name or "/" in name or name in (".", ".."):
        raise PathError(f"{name!r} isn't a file's name: give it without folders")
    return name


def _require_kind(source: Path, fits: bool, kind: str) -> None:
    if not fits:
        raise PathError(f"{source}: {f'not {kind}' if source.exists() else 'no such file or directory'}")

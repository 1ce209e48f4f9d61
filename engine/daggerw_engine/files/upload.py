"""Changes in a folder of the host since it was uploaded last.

As in Git's index, a file counts as unchanged when its stamp is the same, and a stamp is only stored when it
is too old for another change within the same tick of the file system's clock.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.files.copying import each, link_all, take
from daggerw_engine.files.listing import ROOT, Entry, Listing, entries, head_of
from daggerw_engine.files.patterns import Filter
from daggerw_engine.results import Results

TICK = 100_000_000  # nanoseconds; the kernel's clock for files ticks at least ten times as often
SECOND = 1_000_000_000

Stamps = dict[str, str]


@dataclass(frozen=True)
class Before:
    """Last upload of a folder: its tree, and the stamps of the files in it."""

    key: str
    tree: str
    stamps: Stamps

    @classmethod
    def of(cls, uploads: Results, source: Path, kept: Filter) -> Before:
        """Return the record of a folder's last upload with the same filter."""
        key = hashlib.sha256(os.fsencode(f"{source}\0{kept.key}")).hexdigest()
        known = uploads.get(key) or {"tree": "none", "stamps": {}}
        return cls(key, known["tree"], known["stamps"])  # type: ignore[arg-type]

    def keep(self, uploads: Results, tree: str, stamps: Stamps) -> None:
        """Store the record of this upload."""
        if (tree, stamps) != (self.tree, self.stamps):
            uploads.put(self.key, {"tree": tree, "stamps": stamps})


@dataclass(frozen=True)
class Found:
    """Current content of the folder: `known` has the heads of unchanged files."""

    items: list[tuple[str, Entry]]
    known: dict[str, str]
    stamps: Stamps

    @classmethod
    def of(cls, source: Path, kept: Filter, before: Stamps, heads: dict[str, str]) -> Found:
        """Return a folder's content, compared with the files' earlier stamps and heads."""
        now = time.time_ns()
        items = entries(source, kept)
        stamps = {path: _stamp(entry) for path, entry in items if entry.is_file(follow_symlinks=False)}
        known = {path: heads[path] for path, stamp in stamps.items() if before.get(path) == stamp}
        return cls(items, known, {path: stamp for path, stamp in stamps.items() if not _is_racy(stamp, now)})

    def take_changed(self, folder: Path) -> Listing:
        """Copy changed files into `folder`; return the list of all files."""
        changed = [
            (path, entry)
            for path, entry in self.items
            if path not in self.known and not entry.is_dir(follow_symlinks=False)
        ]
        for above in {path.rpartition("/")[0] for path, _ in changed}:
            os.makedirs(f"{folder}/{above}", exist_ok=True)
        digests = each(lambda item: take(*item, f"{folder}/{item[0]}"), changed)
        taken = dict(zip((entry.path for _, entry in changed), digests, strict=True))
        return Listing.of(
            (self.known.get(path) or head_of(entry, taken.__getitem__, ROOT), path)
            for path, entry in self.items
        )

    def complete(self, folder: Path, base: Path) -> None:
        """Add the unchanged files from the tree `base`."""
        rest = [item for item in self.items if item[0] in self.known or item[1].is_dir(follow_symlinks=False)]
        link_all(base, folder, rest, ROOT)


def _stamp(entry: Entry) -> str:
    info = entry.stat(follow_symlinks=False)
    return f"{info.st_ctime_ns} {info.st_mtime_ns} {info.st_size} {info.st_ino}"


def _is_racy(stamp: str, now: int) -> bool:
    """Return whether the file could change again without a new stamp."""
    changed = int(stamp.partition(" ")[0])
    coarse = changed % SECOND == 0  # a file system with times of one or two seconds
    return changed > now - (2 * SECOND if coarse else TICK)

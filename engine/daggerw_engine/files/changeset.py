"""Differences between two directories: as paths, as a patch, and applied to a third directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.errors import EngineError, PathError
from daggerw_engine.files.copying import clear, copy_entry
from daggerw_engine.files.paths import resolve_in
from daggerw_engine.files.trees import Place, Trees
from daggerw_engine.process import run

DIFF = (
    "git",
    "-c",
    "core.quotePath=false",
    "diff",
    "--no-index",
    "--no-prefix",
    "--no-renames",
    "--binary",
    "--",
)


@dataclass(frozen=True)
class Changes:
    """Differences between an older and a newer directory; paths of folders end with a slash."""

    before: Place
    after: Place

    @property
    def added_paths(self) -> list[str]:
        """Paths that only the newer directory has."""
        return [_name_in_patch(path, head) for path, head in self._only(self.after, self.before)]

    @property
    def modified_paths(self) -> list[str]:
        """Paths of files that are in both and differ."""
        older = self.before.listing.heads
        newer = self.after.listing.heads.items()
        return [path for path, head in newer if head[0] != "d" and older.get(path, head) != head]

    @property
    def removed_paths(self) -> list[str]:
        """Paths that only the older directory has; for a removed folder only the folder itself."""
        gone = dict(self._only(self.before, self.after))
        return [
            _name_in_patch(path, head) for path, head in gone.items() if os.path.dirname(path) not in gone
        ]

    @property
    def is_empty(self) -> bool:
        """Return whether the directories are equal."""
        return not (self.added_paths or self.modified_paths or self.removed_paths)

    def layer(self, trees: Trees) -> Place:
        """Return the added and modified part of the newer directory."""
        folder, source = trees.new_folder(), self.after.on_disk
        for path in (*self.added_paths, *self.modified_paths):
            copy_entry(source / path, folder / path)
        return trees.adopt(folder)

    def apply(self, target: Path) -> None:
        """Apply the changes to a folder of the caller; PathError when a path there leads out of it."""
        owner = (os.getuid(), os.getgid())
        for path in self.removed_paths:
            clear(_inside(target, path))
        for path in (*self.added_paths, *self.modified_paths):
            copy_entry(self.after.on_disk / path, _inside(target, path), owner, privileges=False)

    async def patch(self, trees: Trees) -> Place:
        """Return a patch in Git's format; EngineError if git is not installed."""
        if not shutil.which("git"):
            raise EngineError("a patch is made with git: install it, and call again")
        folder = trees.new_folder()
        for name, place in (("a", self.before), ("b", self.after)):
            trees.copy(place).rename(folder / name)
        env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = await run((*DIFF, "a", "b"), env=env, cwd=folder)
        if done.status > 1:  # 1 says that something differs
            raise EngineError(f"git diff failed: {done.stderr.strip()[-600:]}")
        shutil.rmtree(folder)
        return trees.write_file("patch", done.stdout, 0o644)

    @staticmethod
    def _only(there: Place, elsewhere: Place) -> Iterator[tuple[str, str]]:
        others = elsewhere.listing.heads
        return ((path, head) for path, head in there.listing.heads.items() if path not in others)


def _name_in_patch(path: str, head: str) -> str:
    return f"{path}/" if head[0] == "d" else path


def _inside(target: Path, path: str) -> Path:
    found = target / path
    if resolve_in(target, os.path.dirname(path.rstrip("/"))) != found.parent:
        raise PathError(f"{found}: a link stands in its way")
    return found

"""Missing mount points of a container: created before its command runs, removed after.

Nothing runs in the container at either time. The removal looks in the folder of the command's changes, from
folder to folder without following a link, and removes only empty mount points.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from daggerw_engine.files.paths import resolve_in

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class MountPoints:
    """Mount points of a file system mounted at `root`, with its changes in `changed`."""

    def __init__(self, root: Path, changed: Path) -> None:
        self._root, self._changed = root, changed
        self._made: list[str] = []

    def resolve(self, path: str) -> str:
        """Return the location of `path` in the file system, whether it exists or not."""
        found = resolve_in(self._root, path)
        return f"/{found.relative_to(self._root)}" if found != self._root else "/"

    def make(self, path: str, *, folder: bool, keep: bool = False) -> str:
        """Return the location of `path`, created when it is missing; with `keep`, it is not removed."""
        found = resolve_in(self._root, path)
        missing = [each for each in (found, *found.parents) if not each.exists()]
        for each in reversed(missing):
            if each != found or folder:
                each.mkdir()
            else:
                each.touch()
            if not keep:
                self._made.append(str(each.relative_to(self._root)))
        return self.resolve(path)

    def remove(self) -> None:
        """Remove created mount points that are still empty, after all unmounts."""
        for path in reversed(self._made):
            with suppress(OSError):  # the command has put something there, or removed it
                _remove_empty(self._changed, path)


def _remove_empty(root: Path, path: str) -> None:
    *above, name = path.split("/")
    folder = os.open(root, FOLDER)
    try:
        for part in above:
            below = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.rmdir(name, dir_fd=folder)
        elif stat.S_ISREG(info.st_mode) and not info.st_size:
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)

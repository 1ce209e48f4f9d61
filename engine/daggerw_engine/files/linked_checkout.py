"""Linked checkouts: worktrees and submodules, whose `.git` is a file that says where their repository is.

Only a folder of the host is completed so: a `.git` file out of a container could name any repository here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from daggerw_engine.files.copying import copy_into
from daggerw_engine.files.trees import Place, Trees

FOLDERS = ("--git-common-dir", "--absolute-git-dir")
LEFT_OUT = ("hooks", "modules", "worktrees")
OWN = ("HEAD", "index")  # what each worktree has for itself (gitrepository-layout(5))


def completed(trees: Trees, place: Place, source: Path) -> Place:
    """Return a folder of the host, uploaded to a place, with its repository in a `.git` folder.

    It stays as it is where `.git` is no file, or Git finds no repository.
    """
    if not os.path.isfile(place.on_disk / ".git") or not (found := _repository(source)):
        return place
    common, own = found
    folder = trees.copy(place)
    git = folder / ".git"
    git.unlink()
    git.mkdir()
    copy_into(common, git)
    for name in LEFT_OUT:
        shutil.rmtree(git / name, ignore_errors=True)
    for name in OWN:
        (git / name).unlink(missing_ok=True)
        if (own / name).exists():
            shutil.copyfile(own / name, git / name)
    return trees.adopt(folder)


def _repository(source: Path) -> tuple[Path, Path] | None:
    """Return the folder that a checkout shares with others, and its own; None when Git finds none."""
    if not shutil.which("git"):
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "-c", "safe.directory=*", "rev-parse", *FOLDERS)
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    common, own = done.stdout.splitlines()
    return source / common, source / own

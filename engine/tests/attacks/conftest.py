"""Engines under attack: as root, and as an ordinary user in a user namespace."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from attacks.attack import TOKEN
from engine_fixtures import DISTRIBUTION
from engine_process import Engine, run_engine, small_root

USER = 54321
# Becomes a user that only a mount namespace knows, with the device that usual machines let everybody open.
BECOME = f"""
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/ids" /etc/subuid
mount --bind "$1/ids" /etc/subgid
mount --bind "$1/tun" /dev/net/tun
mount --bind {DISTRIBUTION} "$1/engine"
mount --bind {sys.base_prefix} "$1/python"
mount --bind {sysconfig.get_path("purelib")} "$1/packages"
cd "$1/home"
shift
exec setpriv --reuid {USER} --regid {USER} --clear-groups --inh-caps=-all -- "$@"
"""


@dataclass(frozen=True)
class Target:
    """Engine to attack, and a file system for its containers."""

    engine: Engine
    root: Path
    rootless: bool


@pytest.fixture(scope="module", params=["root", "rootless"])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Return an engine whose environment has a token."""
    with run_target(rootless=request.param == "rootless") as made:
        yield made


@contextmanager
def run_target(*before: str, rootless: bool) -> Iterator[Target]:
    """Run an engine to attack; `before` is a prefix of its command that root runs."""
    with make_home(rootless=rootless) as home, run_target_in(home, *before, rootless=rootless) as target:
        yield target


@contextmanager
def make_home(*, rootless: bool) -> Iterator[Path]:
    """Create a home with a file system for containers, `root`, that its user owns."""
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))
    folder.chmod(0o755)
    try:
        small_root(folder / "home/root")
        if rootless:
            _make_user(folder)
        yield folder / "home"
    finally:
        shutil.rmtree(folder)


@contextmanager
def run_target_in(home: Path, *before: str, rootless: bool) -> Iterator[Target]:
    """Run an engine, whose environment has a token, in a home."""
    words = (*before, *(rootless_prefix(home.parent) if rootless else ()))
    settings = rootless_settings(home.parent) if rootless else {"environment": {}}
    with run_engine(home, *words, **settings.pop("environment"), **settings, TOKEN=TOKEN) as engine:
        yield Target(engine, home / "root", rootless)


def _make_user(folder: Path) -> None:
    passwd = Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(f"{passwd}attacked:x:{USER}:{USER}::{folder}/home:/bin/sh\n")
    (folder / "ids").write_text("attacked:600000:65536\n")
    os.mknod(folder / "tun", 0o020666, os.makedev(10, 200))
    (folder / "tun").chmod(0o666)
    for name in ("engine", "python", "packages", "venv/bin"):
        (folder / name).mkdir(parents=True)
    python = f"python3.{sys.version_info.minor}"
    (folder / "venv/pyvenv.cfg").write_text(f"home = {folder}/python/bin\n")
    (folder / "venv/bin/python").symlink_to(f"../../python/bin/{python}")
    (folder / "venv/lib" / python).mkdir(parents=True)
    (folder / "venv/lib" / python / "site-packages").symlink_to(folder / "packages")
    for place in (folder / "home", *(folder / "home").rglob("*")):
        os.chown(place, USER, USER, follow_symlinks=False)


def rootless_prefix(folder: Path) -> tuple[str, ...]:
    """Return the prefix of a command that the ordinary user runs."""
    return ("unshare", "--mount", "sh", "-euc", BECOME, "sh", str(folder))


def rootless_settings(folder: Path) -> dict[str, Any]:
    """Return the ordinary user's interpreter, and the variables by which it finds the engine."""
    places = {"PYTHONPATH": f"{folder}/engine", "LD_LIBRARY_PATH": f"{folder}/python/lib"}
    return {"python": f"{folder}/venv/bin/python", "environment": places}

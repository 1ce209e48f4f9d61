"""Cache of the engine: sizes by kind, pruning to a bound, clearing with and without cache volumes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from engine_fixtures import Run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a cache folder's parent with 3 MB of a cached directory and 1 MB of a cache volume."""
    for name, size in (("trees/0123456789abcdef", 3), ("volumes/pip", 1)):
        folder = tmp_path / "daggerw" / name
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(size * 10**6))
    return tmp_path


def test_it_shows_its_size_by_kind_and_its_bound(run: Run, home: Path) -> None:
    lines = run("cache", XDG_CACHE_HOME=str(home), DAGGERW_CACHE_BYTES="5000").stdout.splitlines()
    assert lines[0] == str(home / "daggerw")
    shown = {" ".join(words[:-2]): " ".join(words[-2:]) for line in lines[1:] if (words := line.split())}
    assert shown["directories and files"] == "3.0 MB"
    assert shown["cache volumes"] == "1.0 MB"
    assert shown["bound"] == "5.0 kB"


def test_prune_goes_down_to_the_bound(run: Run, home: Path) -> None:
    assert run("cache", "prune", XDG_CACHE_HOME=str(home)).stdout.startswith("removed 0 bytes, left ")
    done = run("cache", "prune", XDG_CACHE_HOME=str(home), DAGGERW_CACHE_BYTES="2000000")
    assert done.stdout.startswith("removed 3.0 MB, left "), done.stderr
    assert (home / "daggerw/volumes/pip/file").exists()


def test_clear_keeps_cache_volumes_by_default(run: Run, home: Path) -> None:
    assert run("cache", "clear", XDG_CACHE_HOME=str(home)).returncode == 0
    assert list((home / "daggerw/trees").iterdir()) == []
    assert (home / "daggerw/volumes/pip/file").exists()
    run("cache", "clear", "--volumes", XDG_CACHE_HOME=str(home))
    assert not (home / "daggerw/volumes/pip").exists()


def test_nothing_is_removed_while_a_session_uses_it(run: Run, home: Path) -> None:
    with (home / "daggerw/lock").open("w") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        done = run("cache", "clear", XDG_CACHE_HOME=str(home))
    assert (done.returncode, done.stderr.splitlines()[0].startswith("Error: the cache is in use")) == (
        1,
        True,
    )
    assert (home / "daggerw/trees/0123456789abcdef/file").exists()


@pytest.mark.parametrize(
    ("words", "bytes_", "message"),
    [
        (["clean"], "", "Error: cache: 'clean' is not a valid subcommand\n"),
        (["prune", "--volumes"], "", "Error: cache: 'prune --volumes' is not a valid subcommand\n"),
        ([], "20GB", "Error: DAGGERW_CACHE_BYTES is '20GB'; expected a number of bytes\n"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    words: list[str], bytes_: str, message: str, run: Run, home: Path
) -> None:
    done = run("cache", *words, XDG_CACHE_HOME=str(home), DAGGERW_CACHE_BYTES=bytes_)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)


def test_its_page_shows_its_commands(run: Run) -> None:
    page = run("help", "cache").stdout
    assert all(f"daggerw cache {name}" in page for name in ("prune", "clear"))

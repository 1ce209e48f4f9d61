"""Paths, which never lead out of their root."""

from __future__ import annotations

from pathlib import Path

import pytest

from daggerw_engine.errors import PathError
from daggerw_engine.files.paths import absolute, check_kind, find_existing, resolve_in

SECRET = "outside the root"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with links of all kinds, beside a file that must not be reached."""
    (tmp_path / "secret").write_text(SECRET)
    root = tmp_path / "root"
    (root / "sub/deep").mkdir(parents=True)
    (root / "sub/file").write_text("inside")
    for name, target in {
        "up": "..",
        "far": "../../../../..",
        "absolute": str(tmp_path / "secret"),
        "sub/deep/up": "../../../secret",
        "chain": "absolute",
        "slash": "/",
        "inside": "/sub/file",
        "relative": "sub/../sub/file",
        "loop": "pool",
        "pool": "loop",
        "dangling": "/nothing",
    }.items():
        (root / name).symlink_to(target)
    return root


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "/../secret",
        "sub/../../secret",
        "up/secret",
        "far/secret",
        "absolute",
        "chain",
        "sub/deep/up",
        "slash/../secret",
        "up/up/up/secret",
        "//../secret",
        "./../secret",
    ],
)
def test_no_path_leads_out_of_its_root(root: Path, path: str) -> None:
    assert resolve_in(root, path).is_relative_to(root)
    with pytest.raises(PathError, match="no such file or directory"):
        find_existing(root, path)


@pytest.mark.parametrize(
    "path", ["sub/file", "/sub/file", "inside", "relative", "slash/sub/file", "up/sub/file"]
)
def test_links_lead_where_they_would_for_a_process_in_the_root(root: Path, path: str) -> None:
    assert find_existing(root, path).read_text() == "inside"


@pytest.mark.parametrize("path", ["", ".", "/", "..", "slash", "far", "sub/.."])
def test_nothing_lies_above_a_root(root: Path, path: str) -> None:
    assert resolve_in(root, path) == root


def test_a_cycle_of_links_is_reported(root: Path) -> None:
    with pytest.raises(PathError, match="too many levels of symbolic links in 'loop/file'"):
        resolve_in(root, "loop/file")


def test_a_link_to_nothing_is_missing(root: Path) -> None:
    with pytest.raises(PathError, match="^dangling: no such file or directory$"):
        find_existing(root, "dangling")


@pytest.mark.parametrize(("path", "directory"), [("sub/file", True), ("sub", False)])
def test_a_path_of_another_kind_is_reported(root: Path, path: str, directory: bool) -> None:
    with pytest.raises(PathError, match=f"path {path} is a .*, not a"):
        check_kind(root / path, path, directory=directory)


@pytest.mark.parametrize(
    ("workdir", "path", "found"),
    [
        ("/w", "a", "/w/a"),
        ("/w", "/a", "/a"),
        ("/w", "../../a", "/a"),
        ("", "a/./b", "/a/b"),
        ("/", "//a", "/a"),
    ],
)
def test_a_container_path_is_absolute(workdir: str, path: str, found: str) -> None:
    assert absolute(workdir, path) == found

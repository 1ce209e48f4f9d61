"""Changes of a file system, and their limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daggerw_engine.files.changes import Remove, Write, apply
from daggerw_engine.files.trees import Place, Trees


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    (tmp_path / "trees").mkdir()
    (tmp_path / "scratch").mkdir()
    return Trees(tmp_path / "trees", tmp_path / "scratch")


def tree(trees: Trees, **files: str) -> Place:
    """Keep a tree of files; a text that begins with -> is a link's target."""
    folder = trees.new_folder()
    for name, text in files.items():
        if text.startswith("->"):
            (folder / name).symlink_to(text[2:])
        else:
            (folder / name).write_text(text)
    return trees.adopt(folder)


def apply_changes(trees: Trees, place: Place, *changes: Write | Remove) -> Place:
    folder = trees.copy(place)
    apply(changes, folder)
    return trees.adopt(folder)


def test_a_change_leaves_the_tree_that_it_began_with(trees: Trees) -> None:
    base = tree(trees, a="a", b="b", link="->a")
    before = {name: os.lstat(base.root / name) for name in os.listdir(base.root)}
    links = tree(trees, one="->a", link="->b", b="B")
    apply_changes(trees, base, Write("/", links, owner="5:5", permissions=0o600), Remove("a"))
    after = {name: os.lstat(base.root / name) for name in os.listdir(base.root)}
    for name, info in after.items():
        assert (info.st_mode, info.st_uid, info.st_size) == (
            before[name].st_mode,
            before[name].st_uid,
            before[name].st_size,
        )
    assert (base.root / "b").read_text() == "b"


@pytest.mark.parametrize(
    "path", ["../outside", "/../outside", "up/outside", "up/../../outside", "up/*", "../*"]
)
def test_nothing_outside_a_root_is_removed(trees: Trees, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_text("stays")
    apply_changes(trees, tree(trees, a="a", up=f"->{tmp_path}"), Remove(path))
    assert (tmp_path / "outside").read_text() == "stays"


@pytest.mark.parametrize("path", ["../outside", "up/outside", "outside", "up/../outside"])
def test_nothing_outside_a_root_is_written(trees: Trees, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    base = tree(trees, up=f"->{tmp_path}", outside=f"->{tmp_path}/outside")
    source = tree(trees, file="file")
    apply_changes(trees, base, Write(path, source), Write(f"{path}/a/b", source.below("file")))
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize("path", ["/", ".", "..", "", "a/.."])
def test_a_root_is_emptied_but_stays(trees: Trees, path: str) -> None:
    left = apply_changes(trees, tree(trees, a="a", b="b"), Remove(path))
    assert os.listdir(left.root) == []


def test_a_pattern_removes_what_it_names(trees: Trees) -> None:
    left = apply_changes(trees, tree(trees, a1="", a2="", b1="", link="->a1"), Remove("/a*"))
    assert sorted(os.listdir(left.root)) == ["b1", "link"]

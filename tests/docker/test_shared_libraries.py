"""Shared libraries that the team's packages need: from another wheel, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import runtime_tree
import shared_libraries

GOMP = "scikit_learn.libs/libgomp-e985bcbb.so.1.0.0"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder of packages, some of which bring libraries."""
    for name in (GOMP, "scipy.libs/libgfortran-8f1e9814.so.5.0.0", "other.libs/libgomp-1.so.2"):
        (tmp_path / "packages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "packages" / name).touch()
    (tmp_path / "lib").mkdir()
    return tmp_path / "packages"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("libgomp.so.1", GOMP),
        ("libgomp.so.2", "other.libs/libgomp-1.so.2"),
        ("libgomp.so.3", None),
        ("libg.so.1", None),
    ],
)
def test_a_library_is_found_by_its_name_and_version(packages: Path, name: str, found: str | None) -> None:
    assert shared_libraries.find_bundled(name, packages) == (packages / found if found else None)


def test_what_the_loader_does_not_find_is_linked_to_what_another_wheel_brings(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[Path] = []

    def find_missing(files: list[Path]) -> set[str]:
        searched.extend(files)
        return {"libgomp.so.1"}

    monkeypatch.setattr(runtime_tree, "find_missing", find_missing)
    shared_libraries.provide("lightgbm", packages, tmp_path / "lib")
    assert [path.name for path in searched] == ["lib_lightgbm.so"]
    assert (tmp_path / "lib/libgomp.so.1").readlink() == packages / GOMP


def test_a_library_that_nothing_brings_is_refused_with_its_package(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_tree, "find_missing", lambda files: {"libcuda.so.1"})
    with pytest.raises(
        shared_libraries.NoLibrary, match=r"lightgbm needs libcuda\.so\.1, which .* lock --add"
    ):
        shared_libraries.provide("lightgbm", packages, tmp_path / "lib")


def test_the_image_has_the_link_and_not_a_second_copy_of_the_library(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, tree = tmp_path / "lib/libgomp.so.1", tmp_path / "tree"
    link.symlink_to(packages / GOMP)
    program = tmp_path / "program"
    program.touch()
    monkeypatch.setattr(runtime_tree, "find_linked", lambda binaries: {link, packages / GOMP})
    runtime_tree.gather(tree, program, set(), packages)
    copied = tree / link.relative_to("/")
    assert os.readlink(copied) == str(packages / GOMP)
    assert not (tree / packages.relative_to("/")).exists()

"""Patterns of .dockerignore-like lists and .gitignore files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daggerw_engine.files.listing import entries
from daggerw_engine.files.patterns import Filter


def make_files(folder: Path, *paths: str, **files: str) -> Path:
    """Create empty files, and files with a text: gitignore is .gitignore, sub_gitignore is sub/.gitignore."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    for name, text in files.items():
        file = folder / name.replace("_", "/").replace("gitignore", ".gitignore")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def kept_paths(folder: Path, kept_: Filter) -> set[str]:
    """Return the kept files, without .gitignore files."""
    found = {path for path, entry in entries(folder, kept_) if not entry.is_dir()}
    return {path for path in found if not path.endswith(".gitignore")}


def unignored_paths(folder: Path) -> set[str]:
    return kept_paths(folder, Filter.of(gitignore=True).of_host(folder))


PATHS = ("a.py", "b.txt", "app/a.py", "app/b.txt", "app/deep/a.py", "docs/b.txt")


@pytest.mark.parametrize(
    ("exclude", "include", "left"),
    [
        ([], [], set(PATHS)),
        (["*.py"], [], {"b.txt", "app/a.py", "app/b.txt", "app/deep/a.py", "docs/b.txt"}),
        (["**/*.py"], [], {"b.txt", "app/b.txt", "docs/b.txt"}),
        (["app"], [], {"a.py", "b.txt", "docs/b.txt"}),
        (["app/"], [], {"a.py", "b.txt", "docs/b.txt"}),
        (["/app/deep"], [], set(PATHS) - {"app/deep/a.py"}),
        (["app", "!app/deep"], [], set(PATHS) - {"app/a.py", "app/b.txt"}),
        (["*", "!docs"], [], {"docs/b.txt"}),
        (["!docs", "*"], [], set()),
        (["app/*.p?"], [], set(PATHS) - {"app/a.py"}),
        (["[ab].*"], [], {path for path in PATHS if "/" in path}),
        (["# app", "", "  docs  "], [], set(PATHS) - {"docs/b.txt"}),
        ([], ["app"], {"app/a.py", "app/b.txt", "app/deep/a.py"}),
        ([], ["**/b.txt"], {"b.txt", "app/b.txt", "docs/b.txt"}),
        ([], ["app", "!app/deep"], {"app/a.py", "app/b.txt"}),
        (["**/*.txt"], ["app"], {"app/a.py", "app/deep/a.py"}),
        ([], ["none"], set()),
    ],
)
def test_patterns_are_those_of_a_dockerignore(
    tmp_path: Path, exclude: list[str], include: list[str], left: set[str]
) -> None:
    assert kept_paths(make_files(tmp_path, *PATHS), Filter.of(exclude, include)) == left


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("*.txt", {"a.py", "app/a.py", "app/deep/a.py"}),
        ("/b.txt", set(PATHS) - {"b.txt"}),
        ("app/b.txt", set(PATHS) - {"app/b.txt"}),
        ("deep/a.py", set(PATHS)),
        ("deep/", set(PATHS) - {"app/deep/a.py"}),
        ("a.py/", set(PATHS)),
        ("**/deep", set(PATHS) - {"app/deep/a.py"}),
        ("app/**/a.py", set(PATHS) - {"app/a.py", "app/deep/a.py"}),
        ("*.py\n!app/a.py", set(PATHS) - {"a.py", "app/deep/a.py"}),
        ("# a.py\n\n\\#\nb.tx[t]\n", {"a.py", "app/a.py", "app/deep/a.py"}),
        ("b.txt   \n", {"a.py", "app/a.py", "app/deep/a.py"}),
    ],
)
def test_a_gitignore_leaves_what_git_leaves(tmp_path: Path, rules: str, left: set[str]) -> None:
    make_files(tmp_path, *PATHS, gitignore=rules)
    assert unignored_paths(tmp_path) == left
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    command = ("git", "-C", tmp_path, "ls-files", "--others", "--exclude-standard")
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert set(listed) - {".gitignore"} == left


def test_a_nearer_gitignore_goes_first(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, gitignore="*.py\n", app_gitignore="!a.py\n/b.txt\n")
    assert unignored_paths(tmp_path) == {"b.txt", "app/a.py", "app/deep/a.py", "docs/b.txt"}


def test_a_rule_is_anchored_where_it_stands(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, app_gitignore="/a.py\n")
    assert unignored_paths(tmp_path) == set(PATHS) - {"app/a.py"}


def test_a_file_is_taken_back_from_an_ignored_folder_as_with_dagger(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, gitignore="app/\n!app/b.txt\n")
    assert unignored_paths(tmp_path) == {"a.py", "b.txt", "app/b.txt", "docs/b.txt"}


def test_an_ignored_folder_is_not_even_looked_into(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, gitignore="app/\n", app_gitignore="!*\n")
    assert unignored_paths(tmp_path) == {"a.py", "b.txt", "docs/b.txt"}


def test_rules_above_a_folder_count_up_to_its_repository(tmp_path: Path) -> None:
    make_files(tmp_path, ".git/HEAD", *PATHS, gitignore="/app/deep\na.py\n", app_gitignore="!/a.py\n")
    assert unignored_paths(tmp_path / "app") == {"a.py", "b.txt"}


def test_without_a_repository_nothing_above_a_folder_counts(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, gitignore="a.py\n")
    assert unignored_paths(tmp_path / "app") == {"a.py", "b.txt", "deep/a.py"}


def test_lists_count_on_top_of_a_gitignore(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, gitignore="*.txt\n")
    assert kept_paths(tmp_path, Filter.of(["app/deep"], ["app", "docs"], gitignore=True)) == {"app/a.py"}


def test_a_gitignore_counts_only_on_request(tmp_path: Path) -> None:
    make_files(tmp_path, *PATHS, gitignore="*\n")
    assert kept_paths(tmp_path, Filter.of()) == set(PATHS)


def test_filters_that_differ_have_different_keys() -> None:
    lists: tuple[list[str], ...] = ([], ["a"], ["!a"], ["a", "b"])
    keys = {Filter.of(ex, inc, git).key for ex in lists for inc in lists for git in (False, True)}
    assert len(keys) == 32

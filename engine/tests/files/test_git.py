"""Git repositories: Dagger's GitRepository of a work tree, read without running its programs."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from daggerw_engine.errors import EngineError, PathError
from daggerw_engine.files.copying import copy_into
from daggerw_engine.files.git import Repository

AUTHOR = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *words: str) -> str:
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "PATH": os.environ["PATH"], **AUTHOR}
    done = subprocess.run(["git", *words], cwd=folder, env=alone, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a repository with a tagged commit, a later one, and a copied work tree."""
    made = tmp_path / "made"
    made.mkdir()
    git(made, "init", "--quiet", "--initial-branch=main")
    (made / ".gitignore").write_text("ignored/\n")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "--message=one")
    git(made, "tag", "--annotate", "v1", "--message=v1")
    (made / "file").write_text("file")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "--message=two")
    copy_into(made, tmp_path / "copied")
    return tmp_path / "copied"


def is_clean(folder: Path) -> bool:
    return asyncio.run(Repository.at(folder).is_clean())


def ref(folder: Path, name: str) -> tuple[str, str]:
    found = asyncio.run(Repository.at(folder).ref(name))
    return found.ref, found.commit


def test_head_is_the_branch_that_is_checked_out(folder: Path) -> None:
    found = asyncio.run(Repository.at(folder).head())
    assert (found.ref, found.commit) == ("refs/heads/main", git(folder, "rev-parse", "HEAD"))


def test_a_detached_head_has_no_branch(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "--detach", "HEAD~1")
    assert ref(folder, "HEAD") == ("HEAD", git(folder, "rev-parse", "v1^{commit}"))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("main", "refs/heads/main"),
        ("heads/main", "refs/heads/main"),
        ("refs/heads/main", "refs/heads/main"),
        ("v1", "refs/tags/v1"),
        ("refs/tags/v1", "refs/tags/v1"),
    ],
)
def test_a_name_leads_to_a_commit(folder: Path, name: str, full: str) -> None:
    assert ref(folder, name) == (full, git(folder, "rev-parse", f"{full}^{{commit}}"))


def test_a_branch_goes_before_a_tag_of_its_name(folder: Path) -> None:
    git(folder, "tag", "main", "v1")
    assert ref(folder, "main")[0] == "refs/heads/main"


def test_a_hash_is_a_commit_without_a_name(folder: Path) -> None:
    commit = git(folder, "rev-parse", "HEAD~1")
    assert ref(folder, commit) == (commit, commit)
    assert asyncio.run(Repository.at(folder).commit(commit)).commit == commit


@pytest.mark.parametrize("name", ["none", "HEAD~1", "--all", ""])
def test_a_name_that_leads_nowhere_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(PathError, match=f"repository does not contain ref '{name}'"):
        ref(folder, name)


def test_a_commit_is_given_by_its_whole_hash(folder: Path) -> None:
    with pytest.raises(PathError, match="invalid commit SHA: 'abc'"):
        asyncio.run(Repository.at(folder).commit("abc"))


def test_a_repository_without_commits_has_no_head(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(PathError, match="repository does not contain ref 'HEAD'"):
        ref(tmp_path, "HEAD")
    assert is_clean(tmp_path)


def test_a_copied_work_tree_is_clean(folder: Path) -> None:
    assert is_clean(folder)


@pytest.mark.parametrize("path", ["file", "new", "new folder/new", ".gitignore"])
def test_a_changed_or_new_file_is_uncommitted(folder: Path, path: str) -> None:
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text("elif")
    assert not is_clean(folder)


def test_a_removed_or_staged_file_is_uncommitted(folder: Path) -> None:
    (folder / "file").unlink()
    assert not is_clean(folder)
    git(folder, "rm", "--quiet", "file")
    assert not is_clean(folder)


def test_an_ignored_file_is_not_uncommitted(folder: Path) -> None:
    (folder / "ignored").mkdir()
    (folder / "ignored/file").write_text("")
    assert is_clean(folder)


def test_reading_changes_nothing(folder: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}

    before = stamps()
    assert is_clean(folder)
    assert ref(folder, "HEAD")
    assert stamps() == before


def test_nothing_that_a_repository_names_is_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    (folder / ".git/hooks").mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman"):
        (folder / ".git/hooks" / name).write_text(program.read_text())
        (folder / ".git/hooks" / name).chmod(0o755)
    settings = {"core.fsmonitor": f"{program}", "core.sshCommand": f"{program}", "filter.a.required": "true"}
    for name in ("a", "x=y", "a.b"):
        settings |= {f"filter.{name}.clean": f"{program}", f"filter.{name}.process": f"{program}"}
    for name, value in settings.items():
        git(folder, "config", name, value)
    (folder / ".git/info/attributes").write_text("* filter=a\nfile filter=x=y\n.gitignore filter=a.b\n")
    os.utime(folder / ".gitignore", (1, 1))
    os.utime(folder / "file", (1, 1))
    assert is_clean(folder)
    assert ref(folder, "HEAD")
    assert not mark.exists()


def test_the_callers_own_git_settings_say_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    assert is_clean(folder)


@pytest.mark.parametrize("kind", ["missing", "file", "link", "above"])
def test_a_folder_without_a_repository_of_its_own_is_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    other = folder / "sub" if kind == "above" else tmp_path / "other"
    other.mkdir()
    if kind == "file":
        (other / ".git").write_text(f"gitdir: {folder}/.git\n")
    if kind == "link":
        (other / ".git").symlink_to(folder / ".git")
    with pytest.raises(PathError, match="not a Git repository: the directory has no .git folder"):
        Repository.at(other)


def test_a_machine_without_git_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="read with git: install it"):
        Repository.at(folder)


def test_a_broken_repository_is_reported_in_gits_words(folder: Path) -> None:
    (folder / ".git/HEAD").write_text("nonsense")
    with pytest.raises(EngineError, match="^git for-each-ref failed: .*not a git repository"):
        ref(folder, "HEAD")


def tree(folder: Path, target: Path, name: str = "HEAD", *, with_git: bool = True) -> Path:
    async def checked_out() -> None:
        await (await Repository.at(folder).ref(name)).tree(target, with_git=with_git)

    target.mkdir()
    asyncio.run(checked_out())
    return target


def test_a_tree_has_the_files_of_its_commit_and_no_others(folder: Path, tmp_path: Path) -> None:
    (folder / "file").write_text("changed")
    (folder / "new").touch()
    found = tree(folder, tmp_path / "tree")
    assert (found / "file").read_text() == "file"
    assert sorted(each.name for each in found.iterdir()) == [".git", ".gitignore", "file"]
    assert sorted(each.name for each in tree(folder, tmp_path / "old", "v1", with_git=False).iterdir()) == [
        ".gitignore"
    ]


def test_a_tree_is_a_clean_repository_of_one_commit(folder: Path, tmp_path: Path) -> None:
    found = tree(folder, tmp_path / "tree")
    assert git(found, "status", "--porcelain") == ""
    assert git(found, "log", "--format=%H") == git(folder, "rev-parse", "HEAD")
    assert is_clean(found)


def test_a_tree_is_checked_out_without_running_the_repositorys_filters(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    git(folder, "config", "filter.evil.smudge", f"touch {ran}; cat")
    (folder / ".gitattributes").write_text("file filter=evil\n")
    git(folder, "add", ".gitattributes")
    git(folder, "commit", "--quiet", "--message=three")
    assert (tree(folder, tmp_path / "tree") / "file").read_text() == "file"
    assert not ran.exists()


def test_a_linked_work_tree_has_its_own_head_and_index(folder: Path, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"), "v1")
    copy_into(tmp_path / "linked", tmp_path / "uploaded")
    found = Repository.at(tmp_path / "uploaded", tmp_path / "linked")
    head = asyncio.run(found.head())
    assert (head.ref, head.commit) == ("refs/heads/side", git(folder, "rev-parse", "v1^{commit}"))
    assert asyncio.run(found.is_clean())
    (tmp_path / "uploaded/new").touch()
    assert not asyncio.run(found.is_clean())
    tree = tmp_path / "tree"
    tree.mkdir()
    asyncio.run(head.tree(tree, with_git=False))
    assert [path.name for path in tree.iterdir()] == [".gitignore"]


def add_submodule(folder: Path, repository: Path) -> None:
    """Add a submodule `sub` to the work tree in `folder`."""
    words = ("submodule", "--quiet", "add", str(repository), "sub")
    git(folder, "-c", "protocol.file.allow=always", *words)


def test_a_submodule_s_repository_is_that_above_it(folder: Path, tmp_path: Path) -> None:
    add_submodule(folder, tmp_path / "made")
    copy_into(folder / "sub", tmp_path / "uploaded")
    found = Repository.at(tmp_path / "uploaded", folder / "sub")
    assert asyncio.run(found.head()).commit == git(tmp_path / "made", "rev-parse", "HEAD")
    assert asyncio.run(found.is_clean())


def test_a_work_tree_with_a_submodule_is_read(folder: Path, tmp_path: Path) -> None:
    add_submodule(folder, tmp_path / "made")
    git(folder, "commit", "--quiet", "--message=sub")
    copy_into(folder, tmp_path / "uploaded")
    assert is_clean(tmp_path / "uploaded")


def test_a_link_to_a_repository_elsewhere_counts_only_for_the_users_own_folder(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/.git").write_text(f"gitdir: {folder}/.git\n")
    with pytest.raises(PathError, match="not a Git repository"):
        Repository.at(tmp_path / "elsewhere")

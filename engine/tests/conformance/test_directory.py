"""Directory and File, GitRepository and Changeset."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import dagger
import pytest

from conformance.commands import shell

pytestmark = pytest.mark.anyio


async def test_a_directory_returns_its_content(tree: dagger.Directory) -> None:
    assert await tree.entries() == ["a/", "b/", "z"]
    assert await tree.entries(path="a") == ["one.py", "two.md"]
    assert (await tree.name(), await tree.directory("a").name()) == ("/", "a/")
    assert await tree.file("../../z").contents() == "z"
    assert await tree.directory("..").entries() == ["a/", "b/", "z"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.py", ["a/one.py", "b/one.py"]),
        ("*", ["a/", "b/", "z"]),
        ("**", ["a/", "a/one.py", "a/two.md", "b/", "b/one.py", "z"]),
        ("a", ["a/"]),
        ("a/*", ["a/one.py", "a/two.md"]),
        ("b/**", ["b/one.py"]),
        ("[ab]", ["a/", "b/"]),
        ("?", ["a/", "b/", "z"]),
        ("/a", []),
    ],
)
async def test_a_glob_names_paths(tree: dagger.Directory, pattern: str, found: list[str]) -> None:
    assert await tree.glob(pattern) == found


async def test_a_directory_can_be_filtered(tree: dagger.Directory) -> None:
    assert await tree.filter(exclude=["*", "!a", "**/*.md"]).glob("**") == ["a/", "a/one.py"]
    assert await tree.filter(include=["**/*.md"]).glob("**") == ["a/", "a/two.md"]
    ignoring = tree.with_new_file(".gitignore", "*.py\n!/b/one.py\n")
    assert await ignoring.filter(gitignore=True, exclude=["z"]).glob("**/*.*") == [
        ".gitignore",
        "a/two.md",
        "b/one.py",
    ]


async def test_what_differs_between_two_directories_is_what_the_other_has_anew(
    tree: dagger.Directory,
) -> None:
    other = tree.without_directory("a").with_new_file("new", "1").with_new_file("b/one.py", "changed")
    assert await tree.diff(other).glob("**") == ["b/", "b/one.py", "new"]
    assert await tree.diff(tree).entries() == []
    assert await tree.diff(tree.with_new_file("z", "z", permissions=0o600)).entries() == ["z"]
    assert await tree.directory("a").diff(tree.directory("b")).entries() == ["one.py"]


async def test_a_digest_stands_for_content_and_not_for_times(
    dag: dagger.Client, tree: dagger.Directory
) -> None:
    assert re.fullmatch("sha256:[0-9a-f]{64}", await tree.digest())
    assert await tree.digest() == await dag.directory().with_directory("/", tree).digest()
    assert await tree.digest() == await tree.with_timestamps(1).digest()
    assert await tree.digest() != await tree.with_new_file("z", "other").digest()


async def test_directories_and_files_are_put_together(dag: dagger.Client, tree: dagger.Directory) -> None:
    file = dag.file("name", "text")
    assert await tree.with_file("a", file).glob("a/*") == ["a/name", "a/one.py", "a/two.md"]
    assert await tree.with_file("new/", file).glob("new/*") == ["new/name"]
    assert await tree.with_files("new", [file, tree.file("z")]).glob("new/*") == ["new/name", "new/z"]
    assert await tree.with_directory("z", tree.directory("b")).glob("z/*") == ["z/one.py"]
    merged = tree.with_directory("a", tree, exclude=["a"], include=["**/*.py", "z"])
    assert await merged.directory("a").glob("**") == ["b/", "b/one.py", "one.py", "two.md", "z"]
    ignoring = tree.with_new_file(".gitignore", "*.py")
    assert await dag.directory().with_directory("/", ignoring, gitignore=True).glob("**/*.py") == []


async def test_modes_and_owners_are_what_they_are_said_to_be(
    dag: dagger.Client, base: dagger.Container, tree: dagger.Directory
) -> None:
    made = dag.directory().with_new_directory("plain").with_new_directory("own", permissions=0o700)
    made = made.with_new_file("new", "", permissions=0o640)
    made = made.with_directory("dir", tree, owner="12:34", permissions=0o711)
    made = made.with_file("file", tree.file("z"), owner="12", permissions=0o600)
    made = made.with_files("files", [tree.file("z")], permissions=0o600)
    names = "plain own new dir dir/a dir/z file files files/z"
    said = await shell(base.with_directory("/it", made).with_workdir("/it"), f"stat -c '%a %u:%g %n' {names}")
    assert said.splitlines() == [
        "644 0:0 plain",
        "700 0:0 own",
        "640 0:0 new",
        "711 12:34 dir",
        "711 12:34 dir/a",
        "711 12:34 dir/z",
        "600 12:12 file",
        "755 0:0 files",
        "600 0:0 files/z",
    ]


async def test_what_isnt_there_is_removed_in_silence(tree: dagger.Directory) -> None:
    assert await tree.without_directory("a").without_file("z").entries() == ["b/"]
    assert await tree.without_files(["*/one.py", "z", "none"]).glob("**") == ["a/", "a/two.md", "b/"]
    assert await tree.without_file("none").without_directory("none").entries() == ["a/", "b/", "z"]


async def test_a_directory_cannot_be_made_outside(tree: dagger.Directory) -> None:
    with pytest.raises(dagger.QueryError, match="cannot create directory outside parent"):
        await tree.with_new_directory("../outside").sync()
    assert await tree.with_new_file("../inside", "").entries() == ["a/", "b/", "inside", "z"]


async def test_times_can_be_set(base: dagger.Container, tree: dagger.Directory) -> None:
    container = base.with_directory("/it", tree.with_timestamps(1_000_000_000))
    assert await shell(container, "stat -c %Y /it/a /it/a/one.py /it/z") == "1000000000\n" * 3


async def test_a_file_has_a_name_a_size_and_lines(dag: dagger.Client) -> None:
    file = await dag.file("lines.txt", "one\ntwo\nthree\n", permissions=0o600).sync()
    assert (await file.name(), await file.size()) == ("lines.txt", 14)
    assert await file.contents(offset_lines=1, limit_lines=1) == "two\n"
    assert await file.contents(offset_lines=9) == ""
    assert await file.with_name("other.txt").name() == "other.txt"
    for wrong in (file.with_name("in/other"), dag.file("in/other", "")):
        with pytest.raises(dagger.QueryError, match="in/other"):
            await wrong.name()


async def test_a_files_digest_covers_its_content_and_by_default_its_mode(dag: dagger.Client) -> None:
    plain, private = dag.file("a", "text"), dag.file("b", "text", permissions=0o600)
    assert await plain.digest() != await private.digest()
    assert await plain.digest(exclude_metadata=True) == await private.digest(exclude_metadata=True)


async def test_a_git_repository_returns_its_commits_and_whether_it_has_changes(
    dag: dagger.Client, tmp_path: Path
) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.test")
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def repository() -> dagger.GitRepository:
        return dag.host().directory(str(tmp_path), no_cache=True).as_git()

    git("init", "--quiet", "--initial-branch=main")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "--message=first")
    git("tag", "v1")
    found, commit = repository(), git("rev-parse", "HEAD")
    assert await found.id()
    assert (await found.head().commit(), await found.head().ref()) == (commit, "refs/heads/main")
    assert await found.head().id()
    assert (await found.ref("v1").commit(), await found.ref("v1").ref()) == (commit, "refs/tags/v1")
    assert await found.commit(commit).commit() == commit
    assert await found.uncommitted().is_empty()
    assert await found.uncommitted().id()
    assert await found.head().tree(discard_git_dir=True).entries() == ["file"]
    await found.head().tree().directory(".git").export(str(tmp_path / "exported"))
    exported = ["git", f"--git-dir={tmp_path}/exported", "log", "--format=%H %s"]
    assert subprocess.check_output(exported, text=True) == f"{commit} first\n"
    shutil.rmtree(tmp_path / "exported")
    (tmp_path / "new").touch()
    assert not await repository().uncommitted().is_empty()
    with pytest.raises(dagger.QueryError):
        await found.ref("no-such-ref").commit()


async def test_changes_tell_what_was_added_modified_and_removed(dag: dagger.Client, tmp_path: Path) -> None:
    before = dag.directory().with_new_file("same", "1").with_new_file("edited", "1\n")
    before = before.with_new_file("gone/deep/file", "1").with_new_file("removed", "1")
    after = before.with_new_file("edited", "2\n").without_directory("gone").without_file("removed")
    after = after.with_new_file("new/file", "1\n")
    changes = after.changes(before)
    assert sorted(await changes.added_paths()) == ["new/", "new/file"]
    assert await changes.modified_paths() == ["edited"]
    assert sorted(await changes.removed_paths()) == ["gone/", "removed"]
    assert not await changes.is_empty()
    assert await changes.id()
    assert await (await changes.sync()).before().digest() == await before.digest()
    assert await changes.after().digest() == await after.digest()
    assert sorted(await changes.layer().glob("**/*")) == ["edited", "new/", "new/file"]
    patch = await changes.as_patch().contents()
    assert "diff --git a/edited b/edited\n" in patch
    assert "-1\n+2\n" in patch
    assert "--- /dev/null\n+++ b/new/file\n" in patch
    assert await before.changes(before).is_empty()
    for name, text in {"edited": "mine", "removed": "1", "kept": "mine"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "gone/deep").mkdir(parents=True)
    await changes.export(str(tmp_path))
    assert (tmp_path / "edited").read_text() == "2\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["edited", "kept", "new"]

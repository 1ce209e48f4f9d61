"""Container: files and directories in its root."""

from __future__ import annotations

import dagger
import pytest

from conformance.commands import shell, stats

pytestmark = pytest.mark.anyio


async def test_files_and_directories_are_written_and_removed(
    base: dagger.Container, tree: dagger.Directory
) -> None:
    container = base.with_workdir("/work").with_directory(
        "in", tree, exclude=["*.md", "b"], include=["a", "b"]
    )
    container = container.with_new_file("new.txt", "new", permissions=0o600, owner="nobody:daemon")
    container = container.with_file("c", tree.file("z"), owner="nobody", permissions=0o700)
    container = container.with_files(
        "d", [tree.file("z"), tree.file("a/one.py")], permissions=0o640, owner="12:34"
    )
    assert await container.directory("in").glob("**") == ["a/", "a/one.py", "a/two.md"]
    assert await stats(container, "in", "new.txt", "c") == [
        "755 root:root in",
        "600 nobody:daemon new.txt",
        "700 nobody:nogroup c",
    ]
    assert await shell(container, "stat -c '%a %u:%g %n' d/*") == "640 12:34 d/one.py\n640 12:34 d/z\n"
    emptied = (
        container.without_directory("in/a").without_file("new.txt").without_files(["c", "d/*.py", "none"])
    )
    assert await emptied.directory(".").glob("**") == ["d/", "d/z", "in/"]


async def test_a_directory_goes_in_with_an_owner_and_without_what_git_ignores(
    base: dagger.Container, tree: dagger.Directory
) -> None:
    ignoring = tree.with_new_file(".gitignore", "*.py\n!/b/one.py\n")
    container = base.with_directory("/in", ignoring, owner="nobody", gitignore=True)
    assert await container.directory("/in").glob("**") == [
        ".gitignore",
        "a/",
        "a/two.md",
        "b/",
        "b/one.py",
        "z",
    ]
    assert await stats(container, "/in", "/in/a", "/in/z") == [
        "755 nobody:nogroup /in",
        "755 nobody:nogroup /in/a",
        "644 nobody:nogroup /in/z",
    ]
    with pytest.raises(dagger.QueryError, match="no-such-user"):
        await base.with_new_file("/x", "", owner="no-such-user").sync()


async def test_a_path_that_ends_with_a_slash_or_is_a_directory_takes_the_file_in(
    dag: dagger.Client, base: dagger.Container
) -> None:
    file = dag.file("name", "text")
    assert await base.with_file("/in/", file).directory("/in").entries() == ["name"]
    assert await base.with_file("/srv", file).directory("/srv").entries() == ["name"]
    assert await base.with_file("/new", file).file("/new").contents() == "text"


async def test_a_missing_path_is_named(base: dagger.Container, tree: dagger.Directory) -> None:
    for missing in (base.file("/no/such").contents(), base.directory("/no/such").entries()):
        with pytest.raises(dagger.QueryError, match=r"/no/such: no such file or directory"):
            await missing
    for missing in (
        tree.file("none").contents(),
        tree.directory("none").entries(),
        tree.entries(path="none"),
    ):
        with pytest.raises(dagger.QueryError, match=r"none: no such file or directory"):
            await missing


async def test_a_path_of_the_other_kind_is_refused(base: dagger.Container, tree: dagger.Directory) -> None:
    for read in (base.file("/etc").contents(), tree.file("a").contents()):
        with pytest.raises(dagger.QueryError, match="is a directory, not a file"):
            await read
    for other in (base.directory("/etc/passwd").entries(), tree.directory("z").entries()):
        with pytest.raises(dagger.QueryError, match="is a file, not a directory"):
            await other


async def test_a_root_file_system_can_be_taken_and_given(
    dag: dagger.Client, base: dagger.Container, tree: dagger.Directory
) -> None:
    assert "etc/" in await base.rootfs().entries()
    given = dag.container().with_env_variable("KEPT", "1").with_rootfs(tree)
    assert await given.rootfs().entries() == ["a/", "b/", "z"]
    assert await given.env_variable("KEPT") == "1"
    assert await shell(dag.container().with_rootfs(base.rootfs()), "echo runs") == "runs\n"

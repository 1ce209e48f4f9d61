"""Query and Host: version, platform, IDs, and what comes from and goes to the host."""

from __future__ import annotations

from pathlib import Path

import dagger
import httpx
import pytest

from engine_fixtures import PYTHON

pytestmark = pytest.mark.anyio


async def test_the_version_is_that_of_the_sdk(dag: dagger.Client) -> None:
    assert await dag.version() == "v0.21.8"


async def test_containers_have_the_platform_of_the_engine(dag: dagger.Client) -> None:
    platform = await dag.default_platform()
    assert platform in ("linux/amd64", "linux/arm64")
    assert await dag.container(platform=platform).platform() == platform


async def test_a_program_outside_of_a_module_has_no_current_one(dag: dagger.Client) -> None:
    module = dag.current_module()
    for used in (module.id(), module.name(), module.source().id()):
        with pytest.raises(dagger.QueryError, match="no current module"):
            await used
    workdir = module.workdir(".", exclude=["a"], include=["b"], gitignore=True)
    with pytest.raises(dagger.QueryError, match="no current module"):
        await workdir.entries()


async def test_an_object_is_found_again_by_its_id(
    dag: dagger.Client, base: dagger.Container, tree: dagger.Directory
) -> None:
    found = await tree.file("z").sync()  # gives an ID, which the client uses from then on
    assert await found.contents() == "z"
    assert await base.id() == await dag.container().from_(PYTHON).id()
    assert await dag.host().id()


async def test_a_wrong_token_is_refused(address: dict[str, str]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{address['DAGGER_SESSION_PORT']}/query"
        answer = await client.post(url, auth=("wrong", ""), json={"query": "{version}"})
    assert answer.status_code == 401


async def test_host_directories_and_files_come_in(dag: dagger.Client, tmp_path: Path) -> None:
    for path, text in {"keep.txt": "kept", "skip/it.txt": "", "own.log": "", ".gitignore": "*.log"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    host = dag.host()
    assert await host.directory(str(tmp_path), exclude=["skip"]).entries() == [
        ".gitignore",
        "keep.txt",
        "own.log",
    ]
    assert await host.directory(str(tmp_path), include=["*.txt"]).entries() == ["keep.txt"]
    assert await host.directory(str(tmp_path), gitignore=True).entries() == [
        ".gitignore",
        "keep.txt",
        "skip/",
    ]
    assert await host.file(str(tmp_path / "keep.txt")).contents() == "kept"
    for missing in (host.directory(str(tmp_path / "none")).sync(), host.file(str(tmp_path / "none")).sync()):
        with pytest.raises(dagger.QueryError, match="no such file or directory"):
            await missing


async def test_the_host_is_read_again_on_request(dag: dagger.Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    directory, file = dag.host().directory(str(tmp_path)), dag.host().file(str(tmp_path / "file"))
    assert await directory.file("file").contents() + await file.contents() == "beforebefore"
    (tmp_path / "file").write_text("after, and longer")
    fresh = dag.host().directory(str(tmp_path), no_cache=True).file("file")
    assert await fresh.contents() == "after, and longer"
    assert await dag.host().file(str(tmp_path / "file"), no_cache=True).contents() == "after, and longer"


async def test_directories_and_files_go_out(
    dag: dagger.Client, tree: dagger.Directory, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/before").touch()
    assert await tree.export(str(tmp_path / "out")) == str(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "before", "z"]
    await tree.export(str(tmp_path / "out"), wipe=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "z"]
    file = dag.file("name", "text")
    assert await file.export(str(tmp_path / "out/file")) == str(tmp_path / "out/file")
    await file.export(str(tmp_path / "out"), allow_parent_dir_path=True)
    assert (tmp_path / "out/file").read_text() + (tmp_path / "out/name").read_text() == "texttext"
    with pytest.raises(dagger.QueryError, match="is a directory|must be a file path"):
        await file.export(str(tmp_path / "out"))

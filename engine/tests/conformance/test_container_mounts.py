"""Container: mounted directories, files, temporary directories, cache volumes, and sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import dagger
import pytest

from conformance.commands import ANY, shell, stats

pytestmark = pytest.mark.anyio


async def test_a_mounted_directory_is_in_no_layer_but_keeps_what_commands_change(
    dag: dagger.Client, base: dagger.Container
) -> None:
    tree = dag.directory().with_new_file("here", "1")
    mounted = base.with_mounted_directory("/mnt/it", tree)
    changed = mounted.with_exec(["sh", "-c", "cat /mnt/it/here >/mnt/it/there"])
    assert await changed.directory("/mnt/it").entries() == ["here", "there"]
    assert await changed.mounts() == ["/mnt/it"]
    assert await changed.without_mount("/mnt/it").mounts() == []
    with pytest.raises(dagger.QueryError, match="no such file or directory"):
        await mounted.rootfs().file("mnt/it/here").contents()
    assert await tree.entries() == ["here"]


async def test_a_mount_has_an_owner_and_may_be_read_only(
    base: dagger.Container, tree: dagger.Directory
) -> None:
    fixed = base.with_mounted_directory("/m", tree, read_only=True)
    with pytest.raises(dagger.ExecError, match="exit code"):
        await fixed.with_exec(["touch", "/m/new"]).sync()
    owned = base.with_mounted_directory("/m", tree, owner="nobody")
    owned = owned.with_mounted_file("/f", tree.file("z"), owner="12:34")
    assert await stats(owned, "/m", "/m/a") == ["755 nobody:nogroup /m", "755 nobody:nogroup /m/a"]
    assert await shell(owned, "stat -c %u:%g /f") == "12:34\n"


async def test_what_is_written_below_a_mount_is_written_into_it(
    base: dagger.Container, tree: dagger.Directory
) -> None:
    mounted = base.with_mounted_directory("/m", tree)
    written = (
        mounted.with_new_file("/m/new", "2").with_directory("/m", tree.directory("a")).without_file("/m/z")
    )
    assert await written.directory("/m").entries() == ["a/", "b/", "new", "one.py", "two.md"]
    assert await written.mounts() == ["/m"]
    assert await mounted.with_new_file("/m", "instead").mounts() == []


async def test_a_mount_hides_those_below_it(base: dagger.Container, tree: dagger.Directory) -> None:
    mounted = base.with_mounted_directory("/m/below", tree).with_mounted_directory("/m", tree)
    assert await mounted.mounts() == ["/m"]
    assert await mounted.with_mounted_directory("/m/below", tree).mounts() == ["/m", "/m/below"]


async def test_what_is_mounted_from_below_a_directory_stays_mounted(
    base: dagger.Container, tree: dagger.Directory
) -> None:
    mounted = base.with_mounted_directory("/dir", tree.directory("a")).with_mounted_file(
        "/file", tree.file("z")
    )
    changed = mounted.with_exec(["sh", "-c", "echo more >>/file; touch /dir/new"])
    assert await shell(changed, "cat /file; ls /dir") == "zmore\nnew\none.py\ntwo.md\n"
    assert await changed.file("/file").contents() == "zmore\n"


async def test_a_temporary_directory_is_bounded_and_new_for_each_command(base: dagger.Container) -> None:
    container = base.with_mounted_temp("/t", size=1 << 20)
    assert (await shell(container, "touch /t/gone; df -k /t | tail -1")).split()[1] == "1024"
    assert await shell(container.with_exec(["touch", "/t/gone"]), "ls /t") == ""
    assert await container.mounts() == ["/t"]
    with pytest.raises(dagger.QueryError, match="cannot retrieve path from tmpfs"):
        await container.directory("/t").entries()


async def test_a_cache_volume_keeps_its_content_from_command_to_command(
    dag: dagger.Client, base: dagger.Container
) -> None:
    volume = dag.cache_volume("test-volume")
    cached = base.with_mounted_cache("/cache", volume)
    await cached.with_exec(["sh", "-c", "echo kept >/cache/file"]).sync()
    assert await shell(cached, "cat /cache/file") == "kept\n"
    assert await shell(base.with_mounted_cache("/c", dag.cache_volume("test-other")), "ls /c") == ""
    with pytest.raises(dagger.QueryError, match="cannot retrieve path from cache"):
        await cached.directory("/cache").entries()
    assert await volume.id()


async def test_a_cache_volume_has_an_owner_and_may_be_used_one_at_a_time(
    dag: dagger.Client, base: dagger.Container
) -> None:
    locked = dagger.CacheSharingMode.LOCKED
    cached = base.with_mounted_cache("/c", dag.cache_volume("test-locked"), sharing=locked, owner="nobody")
    assert await stats(cached, "/c") == ["755 nobody:nogroup /c"]
    alone = "mkdir /c/held && python -c 'import time; time.sleep(0.2)' && rmdir /c/held && echo"
    said = await asyncio.gather(*(shell(cached, f"{alone} {number}") for number in range(3)))
    assert said == ["0\n", "1\n", "2\n"]


async def test_a_socket_of_the_host_reaches_commands(
    dag: dagger.Client, base: dagger.Container, tmp_path: Path
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    read = "import socket as s; c = s.socket(s.AF_UNIX); c.connect('/it'); c.send(b'hi\\n'); print(c.recv(9))"
    async with await asyncio.start_unix_server(answer, tmp_path / "socket"):
        socket = dag.host().unix_socket(str(tmp_path / "socket"))
        container = base.with_env_variable("IT", "it").with_unix_socket(
            "/$IT", socket, expand=True, owner="nobody"
        )
        used = container.with_user("nobody").with_exec(["python", "-c", read])
        assert await used.stdout() == "b'HI\\n'\n"
        assert await container.mounts() == []
        bare = container.without_unix_socket("/$IT", expand=True)
        assert await bare.with_exec(["test", "-S", "/it"], expect=ANY).exit_code() == 1
        assert await socket.id()

"""API of the engine in a program with dagger-io: the effect of each field and argument.

The tests don't depend on the embedded engine: under `dagger run pytest engine/tests/test_api.py` they use the
Dagger engine. The last test compares the queries with the schema, and fails for an unused part.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dagger
import graphql
import httpx
import pytest

from engine_fixtures import DISTRIBUTION, PYTHON

pytestmark = pytest.mark.anyio
FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read().decode(), end='')"
ANY, FAILURE = dagger.ReturnType.ANY, dagger.ReturnType.FAILURE


@pytest.fixture
def base(dag: dagger.Client) -> dagger.Container:
    return dag.container().from_(PYTHON)


@pytest.fixture
def tree(dag: dagger.Client) -> dagger.Directory:
    """Return a directory with a few files to look for."""
    files = {"a/one.py": "1", "a/two.md": "2", "b/one.py": "3", "z": "z"}
    found = dag.directory()
    for path, text in files.items():
        found = found.with_new_file(path, text)
    return found


async def shell(container: dagger.Container, script: str) -> str:
    """Return a script's output in a container."""
    return await container.with_exec(["sh", "-c", script]).stdout()


async def stats(container: dagger.Container, *paths: str) -> list[str]:
    """Return mode, user, group and name of paths in a container."""
    return (await shell(container, f"stat -c '%a %U:%G %n' {' '.join(paths)}")).splitlines()


async def fetch(container: dagger.Container, url: str) -> str:
    """Return the content of a URL, read in a container."""
    return await container.with_exec(["python", "-c", FETCH, url]).stdout()


def serve_text(container: dagger.Container, text: str, port: int = 8000) -> dagger.Container:
    """Return a container whose default arguments serve a text at /it.txt."""
    served = container.with_workdir("/served").with_new_file("it.txt", text).with_exposed_port(port)
    return served.with_default_args(["python", "-m", "http.server", str(port)])


# The root


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


# Commands


async def test_an_exec_gives_both_streams_and_its_status(base: dagger.Container) -> None:
    done = base.with_exec(["sh", "-c", "echo out; echo err >&2"])
    assert await done.stdout() == "out\n"
    assert await done.stderr() == "err\n"
    assert sorted((await done.combined_output()).split()) == ["err", "out"]
    assert await done.exit_code() == 0


async def test_a_container_has_no_output_before_its_first_exec(base: dagger.Container) -> None:
    for read in (base.stdout, base.stderr, base.combined_output, base.exit_code):
        with pytest.raises(dagger.QueryError, match="no command has been set"):
            await read()


async def test_a_failed_exec_raises_with_command_status_and_streams(base: dagger.Container) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    with pytest.raises(dagger.ExecError) as failed:
        await base.with_exec(command).sync()
    assert (failed.value.command, failed.value.exit_code) == (command, 3)
    assert (failed.value.stdout, failed.value.stderr) == ("out", "err")


async def test_a_status_that_is_expected_is_no_failure(base: dagger.Container) -> None:
    failing = ["sh", "-c", "exit 4"]
    assert await base.with_exec(failing, expect=ANY).exit_code() == 4
    assert await base.with_exec(failing, expect=FAILURE).exit_code() == 4
    with pytest.raises(dagger.ExecError):
        await base.with_exec(["true"], expect=FAILURE).sync()


async def test_a_signal_is_never_expected(base: dagger.Container) -> None:
    with pytest.raises(dagger.ExecError) as failed:
        await base.with_exec(["sh", "-c", "kill -9 $$"], expect=ANY).sync()
    assert failed.value.exit_code == 137


async def test_a_command_that_does_not_exist_fails_with_status_one(base: dagger.Container) -> None:
    with pytest.raises(dagger.ExecError) as failed:
        await base.with_exec(["no-such-command"]).sync()
    assert failed.value.exit_code == 1
    assert failed.value.stderr == 'exec: "no-such-command": executable file not found in $PATH'
    assert await base.with_exec(["no-such-command"], expect=ANY).exit_code() == 1


async def test_an_exec_reads_what_it_is_given(base: dagger.Container) -> None:
    assert await base.with_exec(["cat"], stdin="given").stdout() == "given"
    with_file = base.with_new_file("/given", "in a file")
    assert await with_file.with_exec(["cat"], redirect_stdin="/given").stdout() == "in a file"
    with pytest.raises(dagger.QueryError, match="cannot set both stdin and redirectStdin"):
        await base.with_exec(["cat"], stdin="a", redirect_stdin="/given").sync()
    assert await base.with_exec(["cat"]).stdout() == ""


async def test_an_exec_writes_its_streams_to_files_as_well(base: dagger.Container) -> None:
    script = ["sh", "-c", "echo out; echo err >&2"]
    done = base.with_exec(script, redirect_stdout="/o", redirect_stderr="/e")
    assert await done.file("/o").contents() == "out\n"
    assert await done.file("/e").contents() == "err\n"
    assert await done.stdout() == "out\n"


async def test_an_exec_uses_entrypoint_and_default_arguments(base: dagger.Container) -> None:
    container = base.with_entrypoint(["echo", "said:"]).with_default_args(["echo", "default"])
    assert await container.with_exec(["word"], use_entrypoint=True).stdout() == "said: word\n"
    assert await container.with_exec(["echo", "word"]).stdout() == "word\n"
    assert await container.with_exec([]).stdout() == "default\n"
    assert await container.with_exec([], use_entrypoint=True).stdout() == "said: echo default\n"
    with pytest.raises(dagger.QueryError, match="no command has been set"):
        await container.without_default_args().with_exec([]).sync()


async def test_what_an_exec_changes_is_seen_by_the_next_only(base: dagger.Container) -> None:
    changed = base.with_exec(["touch", "/made"])
    assert await changed.with_exec(["ls", "/made"]).stdout() == "/made\n"
    with pytest.raises(dagger.ExecError):
        await base.with_exec(["ls", "/made"]).sync()


async def test_an_exec_runs_once_for_the_same_inputs(base: dagger.Container) -> None:
    moment = ["date", "+%s.%N"]
    again = base.with_env_variable("WHICH", "a").with_exec(moment)
    assert await again.stdout() == await base.with_env_variable("WHICH", "a").with_exec(moment).stdout()
    assert await again.stdout() != await base.with_env_variable("WHICH", "b").with_exec(moment).stdout()


async def test_a_failed_exec_is_not_kept(dag: dagger.Client, base: dagger.Container) -> None:
    counted = base.with_mounted_cache("/count", dag.cache_volume(f"test-counts-failures-{uuid.uuid4()}"))
    script = "date +%N >>/count/tries; test $(wc -l </count/tries) -gt 1"
    with pytest.raises(dagger.ExecError):
        await shell(counted, script)
    assert await shell(counted, script) == ""


# How commands run


async def test_environment_workdir_and_user_hold_for_commands(base: dagger.Container) -> None:
    container = base.with_env_variable("NAME", "value").with_workdir("/some/where").with_user("nobody")
    assert await shell(container, 'echo "$NAME"; pwd; id -un') == "value\n/some/where\nnobody\n"
    assert await container.env_variable("NAME") == "value"
    assert (await container.workdir(), await container.user()) == ("/some/where", "nobody")
    assert await container.with_workdir("../there").workdir() == "/some/there"
    bare = container.without_user().without_workdir().without_env_variable("NAME")
    assert await shell(bare, 'echo "[$NAME]"; pwd; id -un') == "[]\n/\nroot\n"
    assert (await bare.workdir(), await bare.user(), await bare.env_variable("NAME")) == ("", "", None)


async def test_variables_keep_their_order_and_one_value_each(base: dagger.Container) -> None:
    before = [await variable.name() for variable in await base.env_variables()]
    after = await base.with_env_variable("PATH", "/bin").with_env_variable("NEW", "1").env_variables()
    assert [await variable.name() for variable in after] == [*before, "NEW"]
    assert {await variable.name(): await variable.value() for variable in after}["PATH"] == "/bin"
    assert await after[-1].id()


async def test_a_variable_of_the_image_can_be_taken_away(base: dagger.Container) -> None:
    bare = base.without_env_variable("LANG")
    assert await base.env_variable("LANG") is not None
    assert await bare.env_variable("LANG") is None
    assert "LANG=" not in await bare.with_exec(["env"]).stdout()


async def test_entrypoint_and_default_arguments_can_be_set_and_taken_back(base: dagger.Container) -> None:
    container = base.with_entrypoint(["echo"]).with_default_args(["hello"])
    assert (await container.entrypoint(), await container.default_args()) == (["echo"], ["hello"])
    kept = container.with_entrypoint(["cat"], keep_default_args=True)
    assert (await kept.entrypoint(), await kept.default_args()) == (["cat"], ["hello"])
    assert await container.with_entrypoint(["cat"]).default_args() == []
    assert await container.without_entrypoint(keep_default_args=True).default_args() == ["hello"]
    bare = container.without_entrypoint()
    assert (await bare.entrypoint(), await bare.default_args()) == ([], [])
    assert await container.without_default_args().default_args() == []


async def test_labels_can_be_set_and_taken_back(base: dagger.Container) -> None:
    labelled = base.with_label("one", "1").with_label("two", "2")
    assert await labelled.label("one") == "1"
    found = {await label.name(): await label.value() for label in await labelled.labels()}
    assert (found["one"], found["two"]) == ("1", "2")
    assert await labelled.without_label("one").label("one") is None
    assert await (await labelled.labels())[0].id()


async def test_ports_can_be_exposed_and_taken_back(base: dagger.Container) -> None:
    container = base.with_exposed_port(8080)
    tcp, udp = dagger.NetworkProtocol.TCP, dagger.NetworkProtocol.UDP
    container = container.with_exposed_port(53, protocol=udp).with_exposed_port(53)
    ports = await container.exposed_ports()  # in no order
    assert {(await port.port(), await port.protocol()) for port in ports} == {
        (8080, tcp),
        (53, udp),
        (53, tcp),
    }
    left = await container.without_exposed_port(53, protocol=udp).without_exposed_port(8080).exposed_ports()
    assert [(await port.port(), await port.protocol()) for port in left] == [(53, tcp)]
    (web,) = await base.with_exposed_port(
        8080, description="web", experimental_skip_healthcheck=True
    ).exposed_ports()
    assert (await web.description(), await web.experimental_skip_healthcheck()) == ("web", True)
    assert await web.id()


EXPANDING: dict[str, Callable[[dagger.Container, dagger.Client], Awaitable[Any]]] = {
    "withEnvVariable": lambda c, _: c.with_env_variable("X", "$IT-${IT}", expand=True).env_variable("X"),
    "withWorkdir": lambda c, _: c.with_workdir("/$IT", expand=True).workdir(),
    "withExec": lambda c, _: c.with_exec(["echo", "$IT"], expand=True).stdout(),
    "directory": lambda c, _: c.directory("/in/$IT", expand=True).entries(),
    "file": lambda c, _: c.file("/in/$IT/file", expand=True).contents(),
    "withDirectory": lambda c, d: (
        c.with_directory("/$IT", d.directory().with_new_file("x", ""), expand=True).directory("/it").entries()
    ),
    "withFile": lambda c, d: c.with_file("/$IT", d.file("x", "1"), expand=True).file("/it").contents(),
    "withFiles": lambda c, d: (
        c.with_files("/$IT", [d.file("x", "1")], expand=True).directory("/it").entries()
    ),
    "withNewFile": lambda c, _: c.with_new_file("/$IT", "2", expand=True).file("/it").contents(),
    "withoutFile": lambda c, _: c.without_file("/in/$IT/file", expand=True).directory("/in/it").entries(),
    "withoutFiles": lambda c, _: c.without_files(["/in/$IT/*"], expand=True).directory("/in/it").entries(),
    "withoutDirectory": lambda c, _: c.without_directory("/in/$IT", expand=True).directory("/in").entries(),
    "withMountedDirectory": lambda c, d: c.with_mounted_directory(
        "/$IT", d.directory(), expand=True
    ).mounts(),
    "withMountedFile": lambda c, d: c.with_mounted_file("/$IT", d.file("x", "1"), expand=True).mounts(),
    "withMountedCache": lambda c, d: c.with_mounted_cache(
        "/$IT", d.cache_volume("test-expanded"), expand=True
    ).mounts(),
    "withMountedTemp": lambda c, _: c.with_mounted_temp("/$IT", expand=True).mounts(),
    "withoutMount": lambda c, _: c.with_mounted_temp("/it").without_mount("/$IT", expand=True).mounts(),
    "withMountedSecret": lambda c, d: stats(
        c.with_mounted_secret("/$IT", d.set_secret("expanded", "s3cr3t-expanded"), expand=True), "/it"
    ),
}
EXPANDED = {
    "withEnvVariable": "it-it",
    "withWorkdir": "/it",
    "withExec": "it\n",
    "directory": ["file"],
    "file": "text",
    "withDirectory": ["x"],
    "withFile": "1",
    "withFiles": ["x"],
    "withNewFile": "2",
    "withoutFile": [],
    "withoutFiles": [],
    "withoutDirectory": [],
    "withMountedDirectory": ["/it"],
    "withMountedFile": ["/it"],
    "withMountedCache": ["/it"],
    "withMountedTemp": ["/it"],
    "withoutMount": [],
    "withMountedSecret": ["400 root:root /it"],
}


@pytest.mark.parametrize("field", EXPANDING)
async def test_variables_are_replaced_on_request(
    dag: dagger.Client, base: dagger.Container, field: str
) -> None:
    container = base.with_env_variable("IT", "it").with_new_file("/in/it/file", "text")
    assert await EXPANDING[field](container, dag) == EXPANDED[field]


# Secrets


async def test_a_secret_comes_from_the_environment_a_file_a_command_or_a_text(
    dag: dagger.Client, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("in a file\n")
    assert await dag.secret(f"file://{tmp_path}/secret").plaintext() == "in a file\n"
    assert await dag.secret("cmd://echo from a command").plaintext() == "from a command\n"
    assert await dag.secret("env://HOME").plaintext()
    with pytest.raises(dagger.QueryError, match="secret env var not found"):
        await dag.secret("env://NO_SUCH_VARIABLE").plaintext()
    with pytest.raises(dagger.QueryError, match="no such file or directory"):
        await dag.secret(f"file://{tmp_path}/none").plaintext()


async def test_a_secret_has_a_name_or_an_address(dag: dagger.Client) -> None:
    named, found = dag.set_secret("named", "in a text"), dag.secret("env://HOME")
    assert await named.id()
    assert (await named.plaintext(), await named.name(), await named.uri()) == ("in a text", "named", "")
    assert (await found.name(), await found.uri()) == ("", "env://HOME")


async def test_a_secret_variable_reaches_commands_and_is_never_shown(
    dag: dagger.Client, base: dagger.Container
) -> None:
    container = base.with_secret_variable("TOKEN", dag.set_secret("token", "s3cr3t-word"))
    done = container.with_exec(["sh", "-c", "echo $TOKEN | rev; echo $TOKEN; echo $TOKEN >&2"])
    assert (await done.stdout(), await done.stderr()) == ("drow-t3rc3s\n***\n", "***\n")
    assert await container.env_variable("TOKEN") is None
    with pytest.raises(dagger.ExecError) as failed:
        await shell(container, "echo $TOKEN >&2; exit 1")
    assert failed.value.stderr == "***"
    with pytest.raises(dagger.QueryError, match="expand cannot be used with secret env variable"):
        await container.with_env_variable("COPY", "$TOKEN", expand=True).env_variable("COPY")
    assert await shell(container.without_secret_variable("TOKEN"), "echo [$TOKEN]") == "[]\n"


async def test_a_secret_file_is_there_for_commands_only(dag: dagger.Client, base: dagger.Container) -> None:
    secret = dag.set_secret("file", "s3cr3t-file")
    container = base.with_mounted_secret("/s/file", secret, owner="nobody:daemon", mode=0o440)
    assert await stats(container, "/s/file") == ["440 nobody:daemon /s/file"]
    assert await shell(container, "rev /s/file; echo; cat /s/file") == "elif-t3rc3s\n***"
    assert await stats(base.with_mounted_secret("/it", secret), "/it") == ["400 root:root /it"]
    assert await container.mounts() == []
    with pytest.raises(dagger.QueryError, match="no such file or directory"):
        await container.with_exec(["true"]).file("/s/file").contents()
    with pytest.raises(dagger.ExecError):
        await container.without_mount("/s/file").with_exec(["cat", "/s/file"]).sync()


async def test_a_secret_counts_by_its_plaintext_or_by_its_cache_key(
    dag: dagger.Client, base: dagger.Container, tmp_path: Path
) -> None:
    async def moment(text: str, **key: str) -> str:
        (tmp_path / text).write_text(text)
        secret = dag.secret(f"file://{tmp_path / text}", **key)
        return await shell(base.with_secret_variable("TOKEN", secret), "date +%s.%N")

    assert await moment("first-secret") != await moment("second-secret")
    assert await moment("third-secret", cache_key="key") == await moment("fourth-secret", cache_key="key")


# Files and directories in containers


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


# Mounts


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


# Services


async def test_a_bound_service_is_reached_by_its_name(base: dagger.Container) -> None:
    service = serve_text(base, "served").as_service()
    assert (
        await fetch(base.with_service_binding("files.test", service), "http://files.test:8000/it.txt")
        == "served"
    )


async def test_a_service_runs_the_command_that_it_is_given(base: dagger.Container) -> None:
    container = serve_text(base, "served").with_entrypoint(["sh", "-c", '"$@"', "sh"], keep_default_args=True)
    command = ["$WHAT", "-m", "http.server", "8000"]
    container = container.with_env_variable("WHAT", "python")
    for service in (
        container.as_service(args=command, expand=True),
        container.as_service(args=command, expand=True, use_entrypoint=True),
        container.as_service(use_entrypoint=True),
    ):
        assert await fetch(base.with_service_binding("it", service), "http://it:8000/it.txt") == "served"
    with pytest.raises(dagger.QueryError, match="no service command has been set"):
        await base.without_default_args().as_service().start()


async def test_two_services_have_the_same_port_and_answer_for_themselves(base: dagger.Container) -> None:
    bound = base.with_service_binding("a", serve_text(base, "1").as_service())
    bound = bound.with_service_binding("b", serve_text(base, "2").as_service())
    assert await fetch(bound, "http://a:8000/it.txt") + await fetch(bound, "http://b:8000/it.txt") == "12"


async def test_a_service_returns_its_address(base: dagger.Container) -> None:
    service = (
        await serve_text(base, "served")
        .with_exposed_port(9000, experimental_skip_healthcheck=True)
        .as_service()
        .start()
    )
    host = await service.hostname()
    assert await service.endpoint() == f"{host}:8000"
    assert await service.endpoint(port=9000, scheme="http") == f"http://{host}:9000"
    assert [await port.port() for port in await service.ports()] == [8000, 9000]
    assert await service.id()
    await service.stop()


async def test_a_started_service_serves_until_it_is_stopped(base: dagger.Container, free_port: int) -> None:
    fresh = base.with_env_variable("WHICH", str(free_port))  # so that nothing is cached
    service = await (await serve_text(fresh, "served").as_service().sync()).start()
    url = await service.endpoint(scheme="http")
    assert await fetch(fresh.with_service_binding("it", service), f"{url}/it.txt") == "served"
    await service.stop()
    with pytest.raises(dagger.ExecError):
        await fetch(fresh.with_env_variable("AFTER", "1"), f"{url}/it.txt")
    await (await service.start()).stop(kill=True)


async def test_a_service_that_ends_at_once_says_so(base: dagger.Container) -> None:
    failing = base.with_exposed_port(8001).as_service(args=["sh", "-c", "echo no luck; exit 2"])
    with pytest.raises(dagger.QueryError, match="exit"):
        await failing.start()


async def fetch_from_host(port: int) -> str:
    """Return the content served at a port of the host, once it is available."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(600):
            try:
                return (await client.get(f"http://127.0.0.1:{port}/it.txt")).text
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"nothing is served at port {port}")


def listening_ports() -> set[int]:
    """Return the TCP ports of this host with a listening socket."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {int(words[1].rpartition(":")[2], 16) for words in lines if words[3] == "0A"}


@asynccontextmanager
async def up(running: Awaitable[object]) -> AsyncIterator[None]:
    """Keep a service up while the block runs."""
    task = asyncio.ensure_future(running)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_ports_of_the_host_lead_to_a_service_while_it_is_up(
    base: dagger.Container, free_port: int
) -> None:
    ports = [dagger.PortForward(backend=8000, frontend=free_port)]
    async with up(serve_text(base, "service").as_service().up(ports=ports)):
        assert await fetch_from_host(free_port) == "service"


async def test_ports_of_the_host_lead_to_a_container_while_it_is_up(
    base: dagger.Container, free_port: int
) -> None:
    ports = [dagger.PortForward(backend=8000, frontend=free_port)]
    container = serve_text(base, "container").with_entrypoint(["sh", "-c", '"$@"', "sh"])
    command = ["${WHAT}", "-m", "http.server", "8000"]
    container = container.with_env_variable("WHAT", "python")
    async with up(container.up(ports=ports, args=command, expand=True, use_entrypoint=True)):
        assert await fetch_from_host(free_port) == "container"


@pytest.mark.parametrize("kind", ["service", "container"])
async def test_a_random_port_of_the_host_leads_to_what_is_up(base: dagger.Container, kind: str) -> None:
    before = listening_ports()
    container = serve_text(base, f"random {kind}")
    running = container.up(random=True) if kind == "container" else container.as_service().up(random=True)
    async with up(running):
        for _ in range(600):
            if found := listening_ports() - before:
                break
            await asyncio.sleep(0.05)
        assert f"random {kind}" in [await fetch_from_host(port) for port in found]


async def test_a_service_of_the_host_is_reached_by_containers(
    dag: dagger.Client, base: dagger.Container, free_port: int
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():  # a client that only tries the port sends nothing
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nfrom the host")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", free_port):
        forward = dagger.PortForward(backend=free_port, frontend=80)
        service = dag.host().service([forward], host="127.0.0.1")
        bound = base.with_service_binding("host.test", service)
        assert await fetch(bound, "http://host.test/") == "from the host"
        assert [await port.port() for port in await service.ports()] == [80]


# Directories and files


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


# The host


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


# Images


async def test_an_image_leaves_what_was_set_before(dag: dagger.Client, base: dagger.Container) -> None:
    container = dag.container().with_env_variable("MINE", "1").with_label("mine", "2").with_exposed_port(7)
    container = container.with_workdir("/w").with_user("nobody").with_new_file("/file", "").from_(PYTHON)
    assert (await container.env_variable("MINE"), await container.label("mine")) == ("1", "2")
    assert (await container.workdir(), await container.user()) == (await base.workdir(), await base.user())
    assert [await port.port() for port in await container.exposed_ports()] == [7]
    assert await container.rootfs().glob("file") == []


class Layout:
    """OCI layout in a tar archive."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.isfile()]
            self.files = {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]
        self.index = json.loads(self.files["index.json"])

    def blob(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.files[f"blobs/{descriptor['digest'].replace(':', '/')}"])
        return content

    @property
    def manifest(self) -> dict[str, Any]:
        return self.blob(self.index["manifests"][0])


async def test_an_image_is_exported_as_an_oci_layout_with_its_configuration(
    base: dagger.Container, tmp_path: Path
) -> None:
    image = (
        base.with_new_file("/added", "1").with_entrypoint(["cat"]).with_default_args(["/added", "two words"])
    )
    image = image.with_label("kind", "test").with_exposed_port(80).with_env_variable("NAME", "image.tar")
    path = str(tmp_path / "$NAME")
    assert await image.export(path, expand=True) == str(tmp_path / "image.tar")
    layout = Layout(tmp_path / "image.tar")
    config = layout.blob(layout.manifest["config"])["config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["cat"], ["/added", "two words"])
    assert config["Labels"]["kind"] == "test"
    assert "80/tcp" in config["ExposedPorts"]
    assert "NAME=image.tar" in config["Env"]


@pytest.mark.parametrize(("forced", "kind"), [("Gzip", "+gzip"), ("Uncompressed", "")])
async def test_layers_are_compressed_as_requested(
    dag: dagger.Client, tmp_path: Path, forced: str, kind: str
) -> None:
    compression = dagger.ImageLayerCompression(forced)
    image = dag.container().with_new_file("/file", "text")
    await image.export(str(tmp_path / "exported.tar"), forced_compression=compression)
    await image.as_tarball(forced_compression=compression).export(str(tmp_path / "packed.tar"))
    for name in ("exported.tar", "packed.tar"):
        layers = Layout(tmp_path / name).manifest["layers"]
        assert {layer["mediaType"] for layer in layers} == {f"application/vnd.oci.image.layer.v1.tar{kind}"}


async def test_an_image_comes_in_from_an_archive(dag: dagger.Client, tmp_path: Path) -> None:
    layouts = []
    for name in ("one", "two"):
        await (
            dag.container().with_new_file("/name", name).with_label("name", name).export(str(tmp_path / name))
        )
        layouts.append(Layout(tmp_path / name))
        layouts[-1].index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": name}
    both = {**layouts[0].files, **layouts[1].files}
    manifests = [layout.index["manifests"][0] for layout in layouts]
    both["index.json"] = json.dumps({**layouts[0].index, "manifests": manifests}).encode()
    with tarfile.open(tmp_path / "both", "w") as archive:
        for name, content in both.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    single = dag.container().import_(dag.host().file(str(tmp_path / "one")))
    assert (await single.label("name"), await single.file("/name").contents()) == ("one", "one")
    second = dag.container().import_(dag.host().file(str(tmp_path / "both")), tag="two")
    assert (await second.label("name"), await second.file("/name").contents()) == ("two", "two")


async def test_a_dockerfile_is_built_with_arguments_and_target(dag: dagger.Client) -> None:
    dockerfile = f"""FROM {PYTHON} AS first
ARG WORD
RUN echo "$WORD" > /word
FROM first AS second
RUN touch /second
FROM scratch
COPY --from=first /word /word
LABEL kind=last
"""
    context = dag.directory().with_new_file("other.Dockerfile", dockerfile)
    arguments = [dagger.BuildArg("WORD", "given")]
    platform = await dag.default_platform()
    last = context.docker_build(dockerfile="other.Dockerfile", build_args=arguments, platform=platform)
    assert await last.file("/word").contents() == "given\n"
    assert await last.label("kind") == "last"
    second = context.docker_build(dockerfile="other.Dockerfile", target="second", build_args=arguments)
    assert await second.with_exec(["ls", "/second"]).stdout() == "/second\n"


@pytest.mark.parametrize("word", ["one", 'two "quoted" $words \\'])
async def test_a_build_argument_reaches_what_stands_behind_it(dag: dagger.Client, word: str) -> None:
    dockerfile = f"FROM {PYTHON}\nARG WORD=default\nENV SAID=$WORD\nLABEL said=$WORD\n"
    context = dag.directory().with_new_file("Dockerfile", dockerfile)
    built = context.docker_build(build_args=[dagger.BuildArg("WORD", word)])
    assert await built.env_variable("SAID") == word
    assert await built.label("said") == word


async def test_a_dockerfile_reads_secrets_that_stay_out_of_the_image(dag: dagger.Client) -> None:
    step = "RUN --mount=type=secret,id=token rev /run/secrets/token >/reversed"
    context = dag.directory().with_new_file("Dockerfile", f"FROM {PYTHON}\n{step}\n")
    built = context.docker_build(secrets=[dag.set_secret("token", "s3cr3t-build")])
    assert await built.file("/reversed").contents() == "dliub-t3rc3s"
    assert "token" not in await built.directory("/run").glob("**")


async def test_a_dockerfile_step_that_fails_shows_what_it_wrote(dag: dagger.Client) -> None:
    context = dag.directory().with_new_file("Dockerfile", f"FROM {PYTHON}\nRUN echo $((40 + 2)) && exit 5\n")
    with pytest.raises(dagger.ExecError) as failed:
        await context.docker_build().sync()
    assert failed.value.exit_code == 5
    assert "42" in failed.value.stdout + failed.value.stderr


# All of it


class UsedSchema(graphql.TypeInfoVisitor):
    """Recorder of the schema's fields and arguments in a document."""

    def __init__(self, schema: graphql.GraphQLSchema) -> None:
        self._info = graphql.TypeInfo(schema)
        self.names: set[str] = set()
        super().__init__(self._info, _Noting(self._info, self.names))


class _Noting(graphql.Visitor):
    def __init__(self, info: graphql.TypeInfo, names: set[str]) -> None:
        super().__init__()
        self._info, self._names = info, names

    def enter_field(self, node: graphql.FieldNode, *_: Any) -> None:
        self._names.add(f"{self._info.get_parent_type()}.{node.name.value}")

    def enter_argument(self, node: graphql.ArgumentNode, *_: Any) -> None:
        field = self._info.get_field_def()
        owner = self._info.get_parent_type()
        name = next((name for name, each in owner.fields.items() if each is field), "") if owner else ""  # type: ignore[union-attr]
        self._names.add(f"{owner}.{name}({node.name.value})")


def test_every_field_and_argument_of_the_schema_was_queried(
    request: pytest.FixtureRequest, documents: list[graphql.DocumentNode]
) -> None:
    here = sys.modules[__name__]
    selected = {item.function for item in request.session.items if isinstance(item, pytest.Function)}
    tests = {each for name, each in inspect.getmembers(here, inspect.isfunction) if name.startswith("test_")}
    if tests - selected:
        pytest.skip("only part of the file was selected")
    schema = graphql.build_schema((DISTRIBUTION / "daggerw_engine/api/queries/schema.graphqls").read_text())
    used = UsedSchema(schema)
    for document in documents:
        graphql.visit(document, used)
    offered = set()
    for type_ in schema.type_map.values():
        if isinstance(type_, graphql.GraphQLObjectType) and not type_.name.startswith("__"):
            for name, field in type_.fields.items():
                offered |= {f"{type_}.{name}", *(f"{type_}.{name}({argument})" for argument in field.args)}
    assert not sorted(offered - used.names)

"""What a program that uses dagger-io sees: each part of the API by its effect.

Nothing here knows the embedded engine: under `dagger run pytest tests/engine/test_api.py` the Dagger engine
answers.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import dagger
import httpx
import pytest

pytestmark = pytest.mark.anyio
Command = Callable[..., tuple[list[str], dict[str, str]]]
DOCKERFILE = Path(__file__).resolve().parents[2] / "Dockerfile"
PYTHON = re.findall(r"^FROM (python:\S+)", DOCKERFILE.read_text(), re.MULTILINE)[0]


@pytest.fixture
def base(dag: dagger.Client) -> dagger.Container:
    return dag.container().from_(PYTHON)


async def test_an_exec_gives_both_streams_and_its_status(base: dagger.Container) -> None:
    done = base.with_exec(["sh", "-c", "echo out; echo err >&2"])
    assert await done.stdout() == "out\n"
    assert await done.stderr() == "err\n"
    assert sorted((await done.combined_output()).split()) == ["err", "out"]
    assert await done.exit_code() == 0


async def test_a_failed_exec_raises_with_command_status_and_streams(base: dagger.Container) -> None:
    with pytest.raises(dagger.ExecError) as failed:
        await base.with_exec(["sh", "-c", "echo out; echo err >&2; exit 3"]).sync()
    assert failed.value.exit_code == 3
    assert failed.value.command == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert (failed.value.stdout.strip(), failed.value.stderr.strip()) == ("out", "err")


async def test_a_status_that_is_expected_is_no_failure(base: dagger.Container) -> None:
    failing = ["sh", "-c", "exit 4"]
    assert await base.with_exec(failing, expect=dagger.ReturnType.ANY).exit_code() == 4
    assert await base.with_exec(failing, expect=dagger.ReturnType.FAILURE).exit_code() == 4
    with pytest.raises(dagger.ExecError):
        await base.with_exec(["true"], expect=dagger.ReturnType.FAILURE).sync()


async def test_a_command_that_does_not_exist_fails(base: dagger.Container) -> None:
    with pytest.raises(dagger.QueryError, match="no-such-command"):
        await base.with_exec(["no-such-command"]).sync()


async def test_an_exec_reads_stdin_and_redirects_its_streams(base: dagger.Container) -> None:
    done = base.with_exec(
        ["sh", "-c", "cat; echo err >&2"], stdin="in", redirect_stdout="/o", redirect_stderr="/e"
    )
    assert await done.file("/o").contents() == "in"
    assert await done.file("/e").contents() == "err\n"


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


async def test_environment_workdir_and_user_hold_for_commands(base: dagger.Container) -> None:
    container = (
        base.with_env_variable("NAME", "value")
        .with_env_variable("TWICE", "$NAME-${NAME}", expand=True)
        .with_workdir("/some/where")
        .with_user("nobody")
    )
    script = 'echo "$NAME $TWICE"; pwd; id -un'
    assert (
        await container.with_exec(["sh", "-c", script]).stdout() == "value value-value\n/some/where\nnobody\n"
    )
    assert await container.env_variable("TWICE") == "value-value"
    assert await container.workdir() == "/some/where"
    assert await container.user() == "nobody"


async def test_a_variable_of_the_image_can_be_taken_away(base: dagger.Container) -> None:
    assert await base.env_variable("LANG") is not None
    bare = base.without_env_variable("LANG")
    assert await bare.env_variable("LANG") is None
    assert "LANG=" not in await bare.with_exec(["env"]).stdout()
    assert "LANG" not in [await variable.name() for variable in await bare.env_variables()]


async def test_configuration_can_be_set_and_taken_back(base: dagger.Container) -> None:
    configured = (
        base.with_entrypoint(["echo"])
        .with_default_args(["hello"])
        .with_label("one", "1")
        .with_exposed_port(8080)
        .with_exposed_port(53, protocol=dagger.NetworkProtocol.UDP)
    )
    assert await configured.entrypoint() == ["echo"]
    assert await configured.default_args() == ["hello"]
    assert await configured.label("one") == "1"
    assert "one" in [await label.name() for label in await configured.labels()]
    assert [await port.port() for port in await configured.exposed_ports()] == [8080, 53]
    bare = configured.without_entrypoint().without_label("one").without_exposed_port(8080)
    assert await bare.entrypoint() == []
    assert await bare.default_args() == []
    assert await bare.label("one") is None
    assert [await port.port() for port in await bare.exposed_ports()] == [53]


async def test_the_entrypoint_is_used_when_asked_for(base: dagger.Container) -> None:
    container = base.with_entrypoint(["echo", "said:"])
    assert await container.with_exec(["word"], use_entrypoint=True).stdout() == "said: word\n"
    assert await container.with_exec(["echo", "word"]).stdout() == "word\n"


async def test_files_and_directories_are_written_and_removed(
    dag: dagger.Client, base: dagger.Container
) -> None:
    tree = dag.directory().with_new_file("a/b.txt", "b").with_new_file("c.md", "c")
    container = (
        base.with_workdir("/work")
        .with_directory("in", tree, exclude=["*.md"])
        .with_new_file("new.txt", "new", permissions=0o600)
        .with_file("copied.txt", tree.file("c.md"), owner="nobody")
    )
    assert await container.directory("in").entries() == ["a/"]
    listed = await container.with_exec(["stat", "-c", "%a %U %n", "new.txt", "copied.txt"]).stdout()
    assert listed == "600 root new.txt\n644 nobody copied.txt\n"
    emptied = container.without_directory("in/a").without_file("new.txt")
    assert await emptied.directory(".").entries() == ["copied.txt", "in/"]


async def test_a_missing_path_is_named(dag: dagger.Client, base: dagger.Container) -> None:
    with pytest.raises(dagger.QueryError, match="no such file or directory"):
        await base.file("/no/such").contents()
    with pytest.raises(dagger.QueryError, match="no such file or directory"):
        await dag.directory().directory("none").entries()


async def test_a_mounted_directory_is_in_no_layer_but_keeps_what_commands_change(
    dag: dagger.Client, base: dagger.Container
) -> None:
    tree = dag.directory().with_new_file("here", "1")
    mounted = base.with_mounted_directory("/mnt/it", tree).with_exec(
        ["sh", "-c", "cat /mnt/it/here >/mnt/it/there"]
    )
    assert await mounted.directory("/mnt/it").entries() == ["here", "there"]
    assert await mounted.mounts() == ["/mnt/it"]
    assert await mounted.without_mount("/mnt/it").directory("/mnt/it").entries() == []
    assert await tree.entries() == ["here"]


async def test_what_is_mounted_from_below_a_directory_stays_mounted(
    dag: dagger.Client, base: dagger.Container
) -> None:
    tree = dag.directory().with_new_file("a/b/one.txt", "1").with_new_file("a/two.txt", "2")
    mounted = base.with_mounted_directory("/dir", tree.directory("a/b")).with_mounted_file(
        "/file", tree.file("a/two.txt")
    )
    changed = mounted.with_exec(["sh", "-c", "echo more >>/file; touch /dir/new"])
    assert await changed.with_exec(["sh", "-c", "cat /file; ls /dir"]).stdout() == "2more\nnew\none.txt\n"
    assert await changed.file("/file").contents() == "2more\n"


async def test_a_cache_volume_keeps_its_content_from_command_to_command(
    dag: dagger.Client, base: dagger.Container
) -> None:
    volume = dag.cache_volume("test-volume")
    cached = base.with_mounted_cache("/cache", volume)
    await cached.with_exec(["sh", "-c", "echo kept > /cache/file"]).sync()
    assert await cached.with_exec(["cat", "/cache/file"]).stdout() == "kept\n"


async def test_a_bound_service_is_reached_by_its_name(base: dagger.Container) -> None:
    served = base.with_workdir("/served").with_new_file("it.txt", "served").with_exposed_port(8000)
    service = served.as_service(args=["python", "-m", "http.server", "8000"])
    fetch = "import urllib.request as r; print(r.urlopen('http://files.test:8000/it.txt').read().decode())"
    bound = base.with_service_binding("files.test", service).with_exec(["python", "-c", fetch])
    assert await bound.stdout() == "served\n"


async def test_two_services_have_the_same_port_and_answer_for_themselves(base: dagger.Container) -> None:
    def serving(text: str) -> dagger.Service:
        served = base.with_workdir("/served").with_new_file("it.txt", text).with_exposed_port(8000)
        return served.as_service(args=["python", "-m", "http.server", "8000"])

    fetch = "from urllib.request import *; print(*(urlopen(f'http://{n}:8000/it.txt').read() for n in 'ab'))"
    bound = base.with_service_binding("a", serving("1")).with_service_binding("b", serving("2"))
    assert await bound.with_exec(["python", "-c", fetch]).stdout() == "b'1' b'2'\n"


async def test_a_service_that_ends_at_once_says_what_it_said(base: dagger.Container) -> None:
    failing = base.with_exposed_port(8001).as_service(args=["sh", "-c", "echo no luck; exit 2"])
    with pytest.raises(dagger.QueryError, match="no luck"):
        await failing.start()


async def test_a_directory_can_be_filtered_searched_and_compared(dag: dagger.Client) -> None:
    tree = (
        dag.directory()
        .with_new_file("a/one.py", "1")
        .with_new_file("a/two.md", "2")
        .with_new_file("b/one.py", "3")
    )
    assert await tree.glob("**/*.py") == ["a/one.py", "b/one.py"]
    assert await tree.filter(exclude=["*", "!a", "**/*.md"]).glob("**/*") == ["a/", "a/one.py"]
    assert await tree.filter(include=["**/*.md"]).glob("**/*.md") == ["a/two.md"]
    changed = tree.with_new_file("a/one.py", "changed")
    assert await tree.diff(changed).glob("**/*.py") == ["a/one.py"]
    assert await tree.digest() == await dag.directory().with_directory("/", tree).digest()
    assert await tree.digest() != await changed.digest()


async def test_a_file_has_a_name_a_size_and_lines(dag: dagger.Client) -> None:
    file = dag.file("lines.txt", "one\ntwo\nthree\n")
    assert (await file.name(), await file.size()) == ("lines.txt", 14)
    assert await file.contents(offset_lines=1, limit_lines=1) == "two\n"
    assert await file.with_name("other.txt").name() == "other.txt"


async def test_host_directories_come_in_and_go_out(dag: dagger.Client, tmp_path: Path) -> None:
    (tmp_path / "in/skip").mkdir(parents=True)
    (tmp_path / "in/keep.txt").write_text("kept")
    (tmp_path / "in/skip/it.txt").write_text("skipped")
    taken = dag.host().directory(str(tmp_path / "in"), exclude=["skip"])
    assert await taken.entries() == ["keep.txt"]
    await taken.export(str(tmp_path / "out"))
    assert (tmp_path / "out/keep.txt").read_text() == "kept"
    with pytest.raises(dagger.QueryError, match="no such"):
        await dag.host().directory(str(tmp_path / "none")).sync()


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
    context = dag.directory().with_new_file("Dockerfile", dockerfile)
    last = context.docker_build(build_args=[dagger.BuildArg("WORD", "given")])
    assert await last.file("/word").contents() == "given\n"
    assert await last.label("kind") == "last"
    second = context.docker_build(target="second", build_args=[dagger.BuildArg("WORD", "given")])
    assert await second.with_exec(["ls", "/second"]).stdout() == "/second\n"


@pytest.mark.parametrize("word", ["one", 'two "quoted" $words \\'])
async def test_a_build_argument_reaches_what_stands_behind_it(dag: dagger.Client, word: str) -> None:
    dockerfile = f"FROM {PYTHON}\nARG WORD=default\nENV SAID=$WORD\nLABEL said=$WORD\n"
    context = dag.directory().with_new_file("Dockerfile", dockerfile)
    built = context.docker_build(build_args=[dagger.BuildArg("WORD", word)])
    assert await built.env_variable("SAID") == word
    assert await built.label("said") == word


async def test_a_dockerfile_step_that_fails_shows_what_it_wrote(dag: dagger.Client) -> None:
    context = dag.directory().with_new_file("Dockerfile", f"FROM {PYTHON}\nRUN echo $((40 + 2)) && exit 5\n")
    with pytest.raises(dagger.ExecError) as failed:
        await context.docker_build().sync()
    assert failed.value.exit_code == 5
    assert "42\n" in failed.value.stdout + failed.value.stderr


async def test_an_image_is_exported_as_an_oci_layout_with_its_configuration(
    base: dagger.Container, tmp_path: Path
) -> None:
    image = (
        base.with_new_file("/added", "1").with_entrypoint(["cat"]).with_default_args(["/added", "two words"])
    )
    await image.with_label("kind", "test").with_exposed_port(80).export(str(tmp_path / "image.tar"))
    with tarfile.open(tmp_path / "image.tar") as archive:

        def blob(digest: str) -> dict[str, object]:
            file = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            content: dict[str, object] = json.loads(file.read())
            return content

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = blob(json.loads(index.read())["manifests"][0]["digest"])
        config = blob(manifest["config"]["digest"])["config"]  # type: ignore[index]
    assert config["Entrypoint"] == ["cat"]  # type: ignore[index]
    assert config["Cmd"] == ["/added", "two words"]  # type: ignore[index]
    assert config["Labels"]["kind"] == "test"  # type: ignore[index]
    assert "80/tcp" in config["ExposedPorts"]  # type: ignore[index]


async def test_a_secret_comes_from_the_environment_a_file_or_a_text(
    dag: dagger.Client, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("in a file")
    assert await dag.secret(f"file://{tmp_path}/secret").plaintext() == "in a file"
    assert await dag.set_secret("named", "in a text").plaintext() == "in a text"
    with pytest.raises(dagger.QueryError, match="NO_SUCH_VARIABLE"):
        await dag.secret("env://NO_SUCH_VARIABLE").plaintext()


async def test_the_version_is_that_of_the_sdk(dag: dagger.Client) -> None:
    assert await dag.version() == "v0.21.8"
    assert await dag.default_platform() in ("linux/amd64", "linux/arm64")


async def test_a_wrong_token_is_refused(address: dict[str, str]) -> None:
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{address['DAGGER_SESSION_PORT']}/query"
        answer = await client.post(url, auth=("wrong", ""), json={"query": "{version}"})
    assert answer.status_code == 401

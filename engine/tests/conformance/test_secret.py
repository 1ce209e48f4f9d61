"""Secret: sources, names, and use by commands."""

from __future__ import annotations

from pathlib import Path

import dagger
import pytest

from conformance.commands import shell, stats

pytestmark = pytest.mark.anyio


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

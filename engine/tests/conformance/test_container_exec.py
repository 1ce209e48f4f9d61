"""Container.withExec: streams, status, input, arguments, and reuse."""

from __future__ import annotations

import uuid

import dagger
import pytest

from conformance.commands import ANY, FAILURE, shell

pytestmark = pytest.mark.anyio


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

"""Leftovers and messages of an engine that is killed, interrupted, or lacks a requirement."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine_fixtures import TESTS
from engine_process import Engine, adopt_orphans, find_free_port, run_engine, small_root, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
UNPLUGGED = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
SERVER = r"""
use Socket;
socket(S, PF_INET, SOCK_STREAM, 6);
bind(S, sockaddr_in(80, INADDR_ANY));
listen(S, 9);
while (accept(C, S)) { print C "HTTP/1.0 200 OK\r\n\r\nserved"; close C }
"""
UUID = 'withExec(args:["cat","/proc/sys/kernel/random/uuid"]){stdout}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small file system for containers."""
    return small_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def home(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose cache has the small file system as an image."""
    adopt_orphans()
    made = tmp_path_factory.mktemp("home")
    with run_engine(made) as engine:
        assert "errors" not in engine.container(root, 'withExec(args:["ls"]){sync}')
    return made


def execution(*words: str) -> str:
    return f"withExec(args:{json.dumps(words)}){{sync}}"


def message(answer: dict[str, Any]) -> str:
    assert "errors" in answer, answer
    return str(answer["errors"][0]["message"])


def working_containers(engine: Engine) -> list[str]:
    """Return the names of the remaining working containers in an engine's store."""
    listed = engine.cache / "store/root/overlay-containers/containers.json"
    text = listed.read_text() if listed.exists() else ""
    return [name for item in json.loads(text or "[]") for name in item["names"]]


@contextmanager
def run_until_moment(engine: Engine, root: Path, moment: str) -> Iterator[None]:
    """Run a long operation of an engine; the block runs once the operation has visibly started."""
    written = execution("dd", "if=/dev/urandom", "of=/f", "bs=1M", "count=8")
    chains = {
        "exec": execution("sleep", "1001"),
        "commit": written.replace("sync", "asTarball{size}"),
        "service": 'asService(args:["sleep","1003"]){up(ports:[{backend:9}],random:true)}',
    }

    def work() -> dict[str, Any]:
        if moment == "build":
            return engine.build(root, 'RUN ["/bin/sleep", "1002"]')
        if moment == "stand-in":
            return engine.query('{container{from(address:"python:3.11-slim-bookworm"){sync}}}')
        return engine.container(root, chains[moment])

    signs = {"exec": "sleep 1001", "build": "sleep 1002", "service": "sleep 1003", "stand-in": "apt-get"}

    def run_work() -> object:
        try:
            return work()
        except httpx.HTTPError:  # it is gone
            return None

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run_work)
        until(lambda: answer.done() or engine.runs(signs.get(moment, f" {moment} ")), f"{moment} runs")
        if answer.done():
            engine.kill()
            raise AssertionError(answer.result())
        yield


@pytest.mark.parametrize("moment", ["exec", "commit", "build", "service", "stand-in"])
def test_a_kill_leaves_nothing_and_the_next_call_sweeps(home: Path, root: Path, moment: str) -> None:
    engine = Engine(home).start().wait_until_open()
    with run_until_moment(engine, root, moment):
        engine.kill()
    assert engine.leftovers() == []
    with run_engine(home) as following:
        assert "errors" not in following.container(root, execution("ls"))
        assert working_containers(engine) == []
    assert list((engine.cache / "sessions").iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "number", "status", "said"),
    [
        ("exec", signal.SIGINT, 130, "Canceled."),
        ("build", signal.SIGTERM, 143, "Terminated."),
        ("service", signal.SIGTERM, 143, "Terminated."),
    ],
)
def test_an_interrupted_engine_puts_everything_away(
    home: Path, root: Path, moment: str, number: int, status: int, said: str
) -> None:
    engine = Engine(home).start().wait_until_open()
    with run_until_moment(engine, root, moment):
        ended, stderr = engine.end(number)
    assert (ended, stderr.splitlines()[-1]) == (status, said)
    assert "Traceback" not in stderr
    assert (engine.leftovers(), list((engine.cache / "sessions").iterdir())) == ([], [])
    assert not [name for name in working_containers(engine) if name.startswith("session-")]


def hanging_module(folder: Path) -> Path:
    """Create a module whose import never ends."""
    module = shutil.copytree(TESTS / "example_module", folder / "hangs")
    (module / "source/example.py").write_text("import threading\nthreading.Event().wait()\n")
    return module


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_module_that_hangs_ends_with_the_command_line(home: Path, tmp_path: Path, number: int) -> None:
    engine = Engine(home, ("functions",), cwd=hanging_module(tmp_path)).start()
    until(lambda: engine.runs("describe"), "the module describes itself")
    status, stderr = engine.end(number)
    expected = {2: (130, "Canceled.\n"), 15: (143, "Terminated.\n"), 9: (-9, "")}
    assert (status, stderr) == expected[number]
    assert engine.leftovers() == []


def test_a_kill_ends_a_process_that_is_not_tied_to_the_engine_yet(home: Path, tmp_path: Path) -> None:
    (tmp_path / "setpriv").write_text(f'#!/bin/sh\nsleep 1\nexec {shutil.which("setpriv")} "$@"\n')
    (tmp_path / "setpriv").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    engine = Engine(home, ("functions",), cwd=hanging_module(tmp_path), environment=path).start()
    until(lambda: engine.runs("setpriv", "describe"), "the module is about to describe itself")
    engine.kill()
    assert engine.leftovers() == []


def full(home: Path, size: str) -> tuple[str, ...]:
    """Return a command prefix that mounts a small disk at `home`."""
    mount = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", mount, str(home))


def test_a_full_disk_is_reported_when_the_engine_opens(tmp_path: Path) -> None:
    engine = Engine(tmp_path, before=full(tmp_path, "20k")).start()
    status, stderr = engine.end()
    assert status == 1
    assert re.fullmatch(
        r"Error: the disk is full \(writing.*\): free some .* `daggerw cache clear`.*\n"
        r"runbook: engine.store\n",
        stderr,
    )
    assert engine.leftovers() == []


def test_without_a_network_what_is_cached_works_and_the_rest_names_its_host(home: Path, root: Path) -> None:
    with run_engine(home, *UNPLUGGED) as engine:
        assert "errors" not in engine.container(root, 'withExec(args:["ls"]){stdout}')
        wanted = message(engine.query('{container{from(address:"some.test:5000/a/b:c"){sync}}}'))
        assert "some.test:5000 can't be reached" in wanted
        stand_in = message(engine.query('{container{from(address:"registry:3.0.0"){sync}}}'))
        assert re.search(r"Debian's package mirror can't be reached \([\w.-]+\)", stand_in)


def test_a_stand_in_is_made_once_for_two_calls_and_for_all_its_names(root: Path, tmp_path: Path) -> None:
    programs, made = tmp_path / "bin", tmp_path / "made"
    programs.mkdir()
    (programs / "mmdebstrap").write_text(
        '#!/bin/sh\nfor last; do :; done\necho >>"$MADE"; cp -a "$ROOT/." "$last"\n'
    )
    (programs / "mmdebstrap").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "MADE": str(made), "ROOT": str(root)}
    chain = f'{{container{{from(address:"debian:12"){{{UUID}}}}}}}'
    other = '{container{from(address:"debian:bookworm-slim"){sync}}}'
    with (
        run_engine(tmp_path, *UNPLUGGED, **environment) as one,
        run_engine(tmp_path, *UNPLUGGED, **environment) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        first, second = pool.map(lambda engine: engine.query(chain), (one, two))
        assert "errors" not in one.query(other)
    assert "errors" not in first
    assert first == second
    assert made.read_text() == "\n"


def test_a_call_does_not_wait_for_anothers_command(home: Path, root: Path) -> None:
    engine = Engine(home).start().wait_until_open()
    with run_until_moment(engine, root, "exec"):
        with run_engine(home) as other:
            assert "errors" not in other.container(root, execution("ls", "/bin"))
        engine.end(signal.SIGTERM)


def test_a_taken_port_is_refused_before_anything_starts(home: Path, tmp_path: Path) -> None:
    shutil.copytree(TESTS / "example_module", tmp_path / "example")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("call", "sources", "docker-build", "as-service", "up", "--ports", f"{port}:80")
        engine = Engine(home, words, cwd=tmp_path / "example").start()
        status, stderr = engine.end()
    assert (status, stderr.splitlines()[-2:]) == (
        1,
        [
            f"Error: port {port} of this host can't be had (Address already in use): "
            "choose another one with --ports PORT:80",
            "runbook: engine.network",
        ],
    )


def test_up_leads_to_the_service_until_it_is_interrupted(home: Path, root: Path, tmp_path: Path) -> None:
    shutil.copytree(TESTS / "example_module", tmp_path / "example")
    shutil.copytree(root, tmp_path / "example/source/root")
    (tmp_path / "example/source/root/serve.pl").write_text(SERVER)
    dockerfile = 'FROM scratch\nCOPY source/root /\nEXPOSE 80\nCMD ["perl", "/serve.pl"]\n'
    port = find_free_port()
    words = ("sources", "with-new-file", "--path", "Dockerfile", "--contents", dockerfile)
    engine = Engine(
        home,
        ("call", *words, "docker-build", "as-service", "up", "--ports", f"{port}:80"),
        cwd=tmp_path / "example",
    ).start()
    assert engine.process.stderr is not None
    assert any("the service is up" in line for line in engine.process.stderr)
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "served"
    status, stderr = engine.end(signal.SIGINT)
    assert (status, stderr.splitlines()[-1]) == (130, "Canceled.")
    assert engine.leftovers() == []


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ('container{from(address:"no reference::"){sync}}', "'no reference::' is no image reference"),
        ('container{from(address:"host:port/name"){sync}}', "'host:port/name' is no image reference"),
    ],
)
def test_bad_input_is_reported(bad: Engine, query: str, reason: str) -> None:
    assert reason in message(bad.query(f"{{{query}}}"))


@pytest.fixture(scope="module")
def bad(home: Path) -> Iterator[Engine]:
    """Return an engine for invalid queries."""
    with run_engine(home) as engine:
        yield engine


def test_a_dockerfile_with_a_wrong_line_is_reported(bad: Engine, root: Path) -> None:
    assert 'Unknown instruction: "NONSENSE"' in message(bad.build(root, "NONSENSE here"))

"""Calls with objects of this machine (repository, service, secret), and failures of commands."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from engine_fixtures import Run
from engine_process import small_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
ASK = """
use Socket;
socket(S, PF_INET, SOCK_STREAM, 0);
connect(S, pack_sockaddr_in(PORT, inet_aton("served"))) or die $!;
print <S>;
"""
GIT = {
    **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    **{"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.environ["PATH"]},
}


@contextmanager
def answer_connections(listening: socket.socket) -> Iterator[None]:
    """Respond to every connection with one line while the block runs."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"answered\n")

    listening.listen()
    thread = Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_root(tmp_path / "root")


@pytest.fixture
def checkout(example: Path, tmp_path: Path) -> Path:
    """Return a Git checkout of the example module with one commit, tagged v1."""
    folder = shutil.copytree(example, tmp_path / "checkout")
    for words in ("init -q", "add .", "commit -q -m first", "tag v1"):
        subprocess.run(["git", *words.split()], cwd=folder, env=GIT, check=True)
    return folder


def commit(folder: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_repository_is_the_modules_own_by_default(run: Run, checkout: Path) -> None:
    assert run("call", "commit", cwd=checkout).stdout == commit(checkout)


def test_a_ref_is_a_folder_and_a_name(run: Run, checkout: Path) -> None:
    assert run("call", "tagged", "--at", ".#v1", cwd=checkout).stdout == commit(checkout)


def test_a_missing_repository_is_reported(run: Run) -> None:
    done = run("call", "commit", "--at", ".")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not a Git repository" in done.stderr


def test_a_service_of_this_machine_is_reached_from_a_container(run: Run, root: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    (root / "ask.pl").write_text(ASK.replace("PORT", str(port)))
    with answer_connections(listening):
        done = run("call", "reach", "--served", f"tcp://localhost:{port}", "--root", str(root), "stdout")
    assert (done.returncode, done.stdout) == (0, "answered\n"), done.stderr


def test_a_secret_that_the_module_prints_is_not_shown(run: Run) -> None:
    done = run("call", "leak", "--token", "env://TOKEN", TOKEN="hunter2")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["printed ***", "Error: FunctionError: printed ***"]


@pytest.mark.parametrize("uri", ["env://TOKEN", "cmd://echo $TOKEN", "file:///etc/passwd"])
def test_module_code_has_no_secrets_but_those_it_is_given(uri: str, run: Run) -> None:
    done = run("call", "peek", "--uri", uri, TOKEN="hunter2")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search("take one as an argument|outside of the module's working directory", done.stderr)


@pytest.mark.parametrize(
    "words", [["fail"], ["run", "--command", "sh,-c,echo out; echo err >&2; exit 42", "sync"]]
)
def test_a_failed_commands_status_and_output_are_the_callers(words: list[str], run: Run, root: Path) -> None:
    done = run("call", words[0], "--root", str(root), *words[1:])
    assert (done.returncode, done.stdout) == (42, "")
    assert done.stderr.endswith(
        "exit code: 42\nrunbook: engine.command_failed\nStdout:\nout\nStderr:\nerr\n"
    ), done.stderr

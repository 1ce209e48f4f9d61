"""The command's own ends: its status, signals, and a build that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubernetes.cluster.control_plane import wait_until
from tests.kubernetes.cluster.programs import CONTROL_PLANE, VERSION

ROOT = Path(__file__).resolve().parents[2]
MAIN = """
import sys
from tests.kubernetes.cluster.namespaces import run_in_namespaces
sys.exit(run_in_namespaces(*sys.argv[1:]))
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a machine with a cache of its own, and a Go that has no network."""
    for name in ("cache", "go", "temporary"):
        (tmp_path / name).mkdir()
    (tmp_path / "go/go").write_text("#!/bin/sh\necho 'proxy.test: no route to host' >&2\nexit 1\n")
    (tmp_path / "go/go").chmod(0o755)
    path = f"{tmp_path}/go:{os.environ['PATH']}"
    folders = {"XDG_CACHE_HOME": f"{tmp_path}/cache", "TMPDIR": f"{tmp_path}/temporary"}
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **folders}


@pytest.fixture
def programs(machine: dict[str, str]) -> Path:
    """Return the cache's folder with a file for each program."""
    folder = Path(machine["XDG_CACHE_HOME"]) / "daggerw/kubernetes" / VERSION / "bin"
    folder.mkdir(parents=True)
    for name in (*CONTROL_PLANE, "etcd"):
        (folder / name).touch()
    return folder


@contextmanager
def start(machine: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in namespaces while the block runs."""
    command = [sys.executable, "-c", MAIN, *words]
    with subprocess.Popen(command, env=machine, stderr=subprocess.PIPE, text=True) as process:
        yield process


def test_the_status_is_that_of_the_command(machine: dict[str, str], programs: Path) -> None:
    check = 'test "$KUBERNETES_PROGRAMS" = "$0"; touch "$TMPDIR/left"; exit 7'
    with start(machine, "sh", "-ec", check, str(programs)) as process:
        _, errors = process.communicate()
    assert (process.returncode, errors) == (7, "")
    assert list(Path(machine["TMPDIR"]).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_processes_with_one_message(
    machine: dict[str, str], programs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    script = 'mount -t tmpfs tmpfs /mnt; setsid sleep 1234567 & touch "$0"; wait'
    with start(machine, "sh", "-ec", script, str(tmp_path / "ready")) as process:
        wait_until((tmp_path / "ready").exists, "the command runs")
        process.send_signal(number)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (128 + number, f"kubernetes: ended by {number.name}\n")
    assert subprocess.run(["pgrep", "-f", "sleep 1234567"], check=False).returncode == 1
    assert list(Path(machine["TMPDIR"]).iterdir()) == []


def test_a_build_without_network_ends_with_the_reason_and_leaves_nothing(machine: dict[str, str]) -> None:
    with start(machine, "true") as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[1:] == [
        "kubernetes: no control plane, and building it failed. `go mod download -json k8s.io/kubernetes@"
        f"{VERSION}` failed with status 1:",
        "proxy.test: no route to host",
    ]
    assert [each.name for each in Path(machine["XDG_CACHE_HOME"]).rglob("*") if each.is_file()] == []


def test_a_cache_that_cannot_be_written_is_named(machine: dict[str, str]) -> None:
    Path(machine["XDG_CACHE_HOME"], "daggerw").touch()
    with start(machine, "true") as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "daggerw/kubernetes" in errors
    assert "Not a directory" in errors

"""Attacks that exhaust a machine's memory, or the bytes and files of a disk."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from attacks.conftest import Target, make_home, run_target, run_target_in

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="requires root")
BOTH = pytest.mark.parametrize("rootless", [False, True], ids=["root", "rootless"])
MEMORY = Path("/sys/fs/cgroup/memory")  # version 1's
MEGABYTES = 400
KILLED = 137
EATS_MEMORY = f"my @all; push @all, 'x' x (1 << 24) for 1 .. {MEGABYTES // 4};"
# The engine gets a cgroup of its own: nothing of the machine's is used up.
ENTER = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
FILLS = {
    "size=48m": 'open(F, ">", "/full"); for (1 .. 500) { syswrite(F, "x" x (1 << 20)) or die $! }',
    "nr_inodes=3k": 'mkdir "/full"; for (1 .. 20000) { open(F, ">", "/full/$_") or die $! }',
}


@pytest.fixture
def group() -> Iterator[Path]:
    """Return a cgroup whose processes have 400 MB of memory in all."""
    if not os.access(MEMORY, os.W_OK):
        pytest.skip("requires a writable memory cgroup of version 1")
    made = Path(tempfile.mkdtemp(prefix="attacks-", dir=MEMORY))
    (made / "memory.limit_in_bytes").write_text(f"{MEGABYTES}M")
    yield made
    made.rmdir()


def run(target: Target, script: str) -> dict[str, Any]:
    """Return the engine's response for a command that runs a Perl script."""
    words = json.dumps(["perl", "-e", script])
    return target.engine.container(target.root, f"withExec(args:{words}){{sync}}")


def build(target: Target, script: str) -> dict[str, Any]:
    """Return the engine's response for a Dockerfile whose RUN step runs a Perl script."""
    return target.engine.build(target.root, f"RUN {json.dumps(['perl', '-e', script])}")


@BOTH
def test_a_command_that_uses_up_the_memory_is_killed_and_the_engine_goes_on(
    group: Path, rootless: bool
) -> None:
    with run_target("sh", "-euc", ENTER, str(group), rootless=rootless) as target:
        (error,) = run(target, EATS_MEMORY)["errors"]
        assert error["extensions"]["exitCode"] == KILLED
        assert "errors" in build(target, EATS_MEMORY)
        assert "errors" not in run(target, "exit 0")


@contextmanager
def small_disk(home: Path, options: str) -> Iterator[None]:
    """Mount a small disk for the engine's cache while the block runs."""
    (home / "daggerw").mkdir()
    options += f",mode=700,uid={home.stat().st_uid},gid={home.stat().st_gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", home / "daggerw"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", home / "daggerw"], check=True)


@BOTH
@pytest.mark.parametrize("limit", FILLS)
def test_what_fills_the_disk_fails_and_goes(limit: str, rootless: bool) -> None:
    with make_home(rootless=rootless) as home, small_disk(home, limit):
        with run_target_in(home, rootless=rootless) as target:
            assert "the disk is full (" in run(target, FILLS[limit])["errors"][0]["message"]
            assert "errors" not in run(target, "exit 0")
            assert "the disk is full (" in build(target, FILLS[limit])["errors"][0]["message"]
        with run_target_in(home, rootless=rootless) as following:
            assert "errors" not in run(following, "exit 1 - 1")

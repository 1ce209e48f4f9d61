"""Requirements on the host, with messages when they are missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daggerw_engine.run.programs import wait_for_packages
from engine_fixtures import DISTRIBUTION

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives up what only root has")


def run_behind(
    *before: str, path: str = os.environ["PATH"], word: str = "cache"
) -> subprocess.CompletedProcess[str]:
    """Run the command line with a prefix that starts it by another program."""
    return subprocess.run(
        [*before, sys.executable, "-P", "-m", "daggerw_engine", word],
        env={"PATH": path, "PYTHONPATH": str(DISTRIBUTION)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_programs_are_named_by_their_packages(tmp_path: Path) -> None:
    for name in ("buildah", "crun", "mmdebstrap", "unshare"):
        (tmp_path / name).symlink_to(shutil.which("true") or "")
    done = run_behind(path=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: the embedded engine needs the Debian packages iproute2 slirp4netns tini; run as root: "
        "apt-get update && apt-get install --yes --no-install-recommends iproute2 slirp4netns tini\n"
        "runbook: engine.failed\n"
    )


def test_an_installation_of_packages_is_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(wait_for_packages, tmp_path / "lock")
        assert not waiting.done()
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.result()


def test_what_runs_no_container_needs_no_programs(tmp_path: Path) -> None:
    assert run_behind(path=str(tmp_path), word="version").returncode == 0


@needs_root
def test_a_container_without_mount_namespaces_is_refused() -> None:
    done = run_behind("setpriv", "--bounding-set=-sys_admin", "--")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("daggerw: the embedded engine needs mount namespaces, which this container")


@needs_root
def test_a_user_without_subordinate_ids_gets_a_command_that_adds_some() -> None:
    done = run_behind("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--")
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs root, or user namespaces with subordinate ids (" in done.stderr
    assert done.stderr.endswith("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 54321.\n")

"""Namespaces for a command, in which the kernel ends and removes what the command leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

from tests.kubernetes.cluster.programs import ProgramsMissing, cache_folder, install_programs

_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# The first process of a namespace ignores a signal that it has no handler for. Its end ends all the others.
# The shell's remark that a signal has ended the command is left out: only the command writes errors.
_FIRST_PROCESS = """
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs "$TMPDIR"
trap 'exit 143' TERM
exec 3>&2 2>/dev/null
"$@" 2>&3 3>&- &
wait $!
"""
_GRACE = 10.0  # seconds for the first process to handle the signal


def run_in_namespaces(*words: str) -> int:
    """Run a command in namespaces of its own and return its exit status.

    The command finds the control plane's programs in the folder KUBERNETES_PROGRAMS, and has a folder of its
    own for temporary files. SIGINT and SIGTERM end this process, after all processes in the namespaces.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    _require_tools()
    try:
        programs = install_programs(cache_folder(), _note)
    except ProgramsMissing as error:
        sys.exit(f"kubernetes: no control plane, and building it failed. {error}")
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "KUBERNETES_PROGRAMS": str(programs), "TMPDIR": folder}
        entering = ["setpriv", "--pdeathsig", "KILL", *_UNSHARE, "--", "sh", "-ec", _FIRST_PROCESS, "sh"]
        # In a session of its own it gets no SIGINT from the terminal: this process alone decides.
        process = subprocess.Popen([*entering, *words], env=environment, start_new_session=True)
        try:
            return process.wait()
        finally:
            _end(process)


def _require_tools() -> None:
    if os.geteuid() != 0:
        sys.exit("kubernetes: namespaces for the network need root")
    for name in ("unshare", "setpriv", "ip", "mount", "go"):
        if not shutil.which(name):
            sys.exit(f"kubernetes: {name} is not on the path")


def _note(line: str) -> None:
    print(f"kubernetes: {line}", file=sys.stderr, flush=True)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    """Exit as a shell reports a signal; another one does not stop the cleaning up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    _note(f"ended by {signal.Signals(number).name}")
    sys.exit(128 + number)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the namespaces' first process, and return when the kernel has ended the others."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

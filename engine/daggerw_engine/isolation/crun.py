"""Commands in containers, run by crun so that every process of a container ends with the engine.

    engine -> unshare -> sh, then crun -> tini -> command
              waits      pid 1 of a     pid 1 of the container's own namespace
                         namespace

A container's processes live in a namespace below that of crun. The kernel clears it when crun ends, and
crun's when the engine ends: however the engine ends, no process of the container is left. crun 1.8 refuses
machines on which both versions of cgroups are mounted, so it sees an empty folder in their place.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daggerw_engine import process
from daggerw_engine.errors import EngineError, ExecError, StoreError
from daggerw_engine.process import CONTAINED, Completed, Hear, tied_prefix

NOT_STARTED = 1  # as in Dagger
NOT_FOUND, NOT_EXECUTABLE = 127, 126
INIT = "tini-static"
INIT_PATH = "/dev/.init"
POLL_SECONDS = 0.01
LIMITED = 'for group in $0; do echo 0 >"$group/cgroup.procs" || exit; done; unset IFS'
LIMITS_SHOWN = 'for group in $0; do mount --bind "$group" "$1" || exit; shift; done; unset IFS'
WITHOUT_CGROUPS = 'mount -t tmpfs -o mode=755,size=4k tmpfs /sys/fs/cgroup || exit; exec "$@"'
REFUSED = re.compile(r"\[FATAL tini \(\d+\)\] exec (?P<program>.*) failed: (?P<reason>.*)\n\Z", re.DOTALL)


def runtime_prefix(groups: Sequence[Path], shown: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the command prefix that starts crun without a view of the cgroups.

    The `groups` limit crun itself, or it finds each at its path in `shown`, to limit its children with them.
    """
    limits = LIMITS_SHOWN if shown else LIMITED
    script = f"IFS='\n'; {limits}; {WITHOUT_CGROUPS}"
    return (*CONTAINED, "sh", "-c", script, "\n".join(map(str, groups)), *map(str, shown))


@dataclass(frozen=True)
class Started:
    """Command started by crun; `bundle` is the folder of its specification."""

    command: tuple[str, ...]
    process: asyncio.subprocess.Process
    bundle: Path

    async def wait_until_done(self, stdin: str = "", hear: Hear = lambda stream, chunk: None) -> Completed:
        """Return the command's result or its start error; StoreError when there was no container."""
        end = functools.partial(process.kill_contained, self.process)
        done = await process.wait_until_done(self.process, stdin, hear, end)
        match self.refusal(done.status, done.stderr):
            case ExecError(exit_code=status, stderr=message):
                return Completed(status, "", message, message)
            case EngineError() as refused:
                raise refused
        return done

    def refusal(self, status: int, stderr: str) -> EngineError | None:
        """Return the error of a command that never started; None when it did."""
        if status in (NOT_FOUND, NOT_EXECUTABLE) and (refused := REFUSED.search(stderr)):
            return ExecError(self.command, NOT_STARTED, "", _reason(refused))
        log = self.bundle / "log"
        message = _errors(log) if log.exists() else " ".join(stderr.split())  # crun never started
        if status and message:
            return StoreError(f"a container can't be made for {' '.join(self.command)!r}: {message}")
        return None

    async def terminate(self) -> None:
        """Send SIGTERM to the command, once it has started."""
        while self.process.returncode is None:
            if init := _init_of(process.descent(self.process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(init, signal.SIGTERM)
                return
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def start(
    specification: dict[str, Any],
    bundle: Path,
    namespace: str,
    groups: Sequence[Path],
    *,
    reads: bool = False,
) -> AsyncIterator[Started]:
    """Run a container in a network namespace while the block runs; with `reads`, its stdin is a pipe."""
    command, init = tuple(specification["process"]["args"]), shutil.which(INIT)
    if init is None:
        raise StoreError(f"{INIT} isn't on the path: as root, apt-get install tini")
    config = _with_init(specification, init)
    with (bundle / "config.json").open("w", errors="surrogateescape") as file:
        json.dump(config, file, ensure_ascii=False)
    crun = ("crun", f"--root={bundle}/state", f"--log={bundle}/log", "--log-format=json")
    run = ("--cgroup-manager=disabled", "run", f"--bundle={bundle}", bundle.name)
    words = (*tied_prefix(), "nsenter", f"--net={namespace}", "--", *runtime_prefix(groups), *crun, *run)
    stdin = asyncio.subprocess.PIPE if reads else None
    environment = {"PATH": os.environ["PATH"]}
    started = Started(command, await process.start(words, env=environment, stdin=stdin), bundle)
    try:
        yield started
    finally:
        await asyncio.shield(process.kill_contained(started.process))


def _with_init(specification: dict[str, Any], init: str) -> dict[str, Any]:
    """Return the specification with a first process that forwards signals and reaps all others."""
    options = ["bind", "private", "ro", "nosuid", "nodev"]
    mount = {"destination": INIT_PATH, "type": "bind", "source": init, "options": options}
    process = specification["process"]
    return {
        **specification,
        "process": {**process, "args": [INIT_PATH, "--", *process["args"]]},
        "mounts": [*specification["mounts"], mount],
    }


def _reason(refused: re.Match[str]) -> str:
    program, reason = refused["program"], refused["reason"]
    if reason == os.strerror(2):
        return f"exec: {json.dumps(program)}: executable file not found in $PATH\n"
    return f"{program}: {reason}\n"


def _errors(log: Path) -> str:
    """Return the errors in crun's log, in one line."""
    entries = [json.loads(line) for line in log.read_text(errors="replace").splitlines()]
    return " ".join(line["msg"] for line in entries if line["level"] == "error")


def _init_of(line: Sequence[int]) -> int | None:
    """Return the container's first process in a chain of children, once it forwards signals.

    It does so before it has a child; the processes that set up the container have children, too.
    """
    if len(line) < 3:
        return None
    try:
        name = Path(f"/proc/{line[1]}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return line[1] if name == Path(INIT_PATH).name else None

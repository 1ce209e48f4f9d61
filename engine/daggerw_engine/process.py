"""Child processes that end with the engine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Hear = Callable[[int, bytes], None]
# Prefix for own process and mount namespaces: all children and mounts end with the command.
CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def tied_prefix() -> tuple[str, ...]:
    """Return the command prefix that ends a command when the engine, its parent, ends in any way.

    The shell checks whether the engine ended before the kernel registered the signal for its end.
    """
    still_ours = '[ "$PPID" = "$0" ] && exec "$@"'
    return ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", still_ours, str(os.getpid()))


@dataclass(frozen=True)
class Completed:
    """Result of a process: status and both streams."""

    status: int
    stdout: str
    stderr: str
    combined: str


async def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start `command` in a new session, so that only the engine receives the terminal's Ctrl-C."""
    return await asyncio.create_subprocess_exec(
        *command,
        env=dict(os.environ if env is None else env),
        stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        pass_fds=pass_fds,
        start_new_session=True,
    )


async def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cwd: Path | None = None,
    hear: Hear = lambda stream, chunk: None,
) -> Completed:
    """Run `command` to its end; cancellation kills its process group."""
    process = await start(command, env=env, stdin=asyncio.subprocess.PIPE if stdin else None, cwd=cwd)
    return await wait_until_done(process, stdin, hear)


async def wait_until_done(
    process: asyncio.subprocess.Process,
    stdin: str = "",
    hear: Hear = lambda stream, chunk: None,
    end: Callable[[], Awaitable[None]] | None = None,
) -> Completed:
    """Return the result of a started process; on cancellation `end` ends it, by default a kill.

    Meanwhile `hear` receives its output, with the number of the stream.
    """
    written: list[tuple[int, bytes]] = []

    def take(stream: int, chunk: bytes) -> None:
        written.append((stream, chunk))
        hear(stream, chunk)

    try:
        await asyncio.gather(
            _feed(process, stdin), _collect(process.stdout, 1, take), _collect(process.stderr, 2, take)
        )
        status = await process.wait()
    except BaseException:
        await (end() if end else kill(process))
        raise
    out, err, both = (_text(written, streams) for streams in ((1,), (2,), (1, 2)))
    return Completed(status, out, err, both)


async def run_contained(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    hear: Hear = lambda stream, chunk: None,
) -> Completed:
    """Run a command with the prefix CONTAINED, as `run` does; all its children are dead afterwards."""
    process = await start(command, env=env, stdin=asyncio.subprocess.PIPE if stdin else None)
    return await wait_until_done(process, stdin, hear, lambda: kill_contained(process))


async def _feed(process: asyncio.subprocess.Process, text: str) -> None:
    if process.stdin:
        with suppress(BrokenPipeError, ConnectionResetError):  # a command may end before it has read all
            process.stdin.write(text.encode())
            await process.stdin.drain()
        process.stdin.close()


async def _collect(stream: asyncio.StreamReader | None, number: int, take: Hear) -> None:
    while stream and (chunk := await stream.read(1 << 16)):
        take(number, chunk)


def _text(written: list[tuple[int, bytes]], streams: tuple[int, ...]) -> str:
    return b"".join(chunk for number, chunk in written if number in streams).decode(errors="replace")


async def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process with its group and wait for its end."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def kill_contained(process: asyncio.subprocess.Process) -> None:
    """Kill a process started with the prefix CONTAINED, and wait until all its children are dead.

    The first process of a namespace, for which unshare waits, ends after all others in it.
    """
    if process.returncode is None and (found := descent(process.pid)):
        with suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGKILL)
        await process.wait()
    await kill(process)


def descent(pid: int) -> list[int]:
    """Yield the first child of a process, the first child of that one, and so on."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
            found.append(pid)
    return found

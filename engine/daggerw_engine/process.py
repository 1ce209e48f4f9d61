"""Child processes whose lives are tied to ours."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Hear = Callable[[int, bytes], None]
# Its own processes and mounts: whatever it starts or mounts ends with it.
CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def tied_prefix() -> tuple[str, ...]:
    """Return the words before a command that end it when the engine, its parent, ends, however it does.

    The shell looks whether the engine has ended before the kernel was told to tie them.
    """
    still_ours = '[ "$PPID" = "$0" ] && exec "$@"'
    return ("setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", still_ours, str(os.getpid()))


@dataclass(frozen=True)
class Completed:
    """End of a process, with both its streams."""

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
    """Start `command` in a session of its own, so that the terminal's Ctrl-C is ours to handle."""
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
    """Run `command` to its end; killed, with all of its group, when the caller is cancelled."""
    process = await start(command, env=env, stdin=asyncio.subprocess.PIPE if stdin else None, cwd=cwd)
    return await wait_until_done(process, stdin, hear)


async def wait_until_done(
    process: asyncio.subprocess.Process,
    stdin: str = "",
    hear: Hear = lambda stream, chunk: None,
    end: Callable[[], Awaitable[None]] | None = None,
) -> Completed:
    """Return how a started process ends; `end` ends it when the caller is cancelled, else it is killed.

    Meanwhile `hear` is given what it writes, with the number of the stream.
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
    """Run a command that CONTAINED begins, as `run` does; all that it started is dead afterwards."""
    process = await start(command, env=env, stdin=asyncio.subprocess.PIPE if stdin else None)
    return await wait_until_done(process, stdin, hear, lambda: kill_contained(process))


async def _feed(process: asyncio.subprocess.Process, text: str) -> None:
    if process.stdin:
        with suppress(BrokenPipeError, ConnectionResetError):  # a command may end without reading it all
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
    """Kill all that a process started that CONTAINED begins; nothing of it runs any more afterwards.

    To wait for the first process of a namespace, as unshare does, is to wait for all in it.
    """
    if process.returncode is None and (found := descent(process.pid)):
        with suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGKILL)
        await process.wait()
    await kill(process)


def descent(pid: int) -> list[int]:
    """Return the first child of a process, that one's first child, and so on."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
            found.append(pid)
    return found

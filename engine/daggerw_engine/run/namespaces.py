"""Network namespaces, each held by a process that ends with the engine."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from daggerw_engine.errors import NetworkError
from daggerw_engine.process import run, tied_prefix

READY_SECONDS, CONNECT_SECONDS = 10.0, 5.0
HOLD = 'printf "%s\\n" "$0" | ip -batch - && echo ready && exec cat'
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of <linux/sched.h>
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Namespace:
    """Network namespace, with the process that holds it.

    Sockets created in here belong to it, although their process is on the host.
    """

    holder: int

    @property
    def path(self) -> str:
        """Path of the namespace."""
        return f"/proc/{self.holder}/ns/net"

    @property
    def prefix(self) -> tuple[str, ...]:
        """Command prefix that starts a command in here and ends it with the engine."""
        return (*tied_prefix(), *self._prefix)

    @property
    def _prefix(self) -> tuple[str, ...]:
        return ("nsenter", f"--net={self.path}", "--")

    async def configure(self, *commands: str) -> None:
        """Run commands of ip(8) in here; NetworkError when one fails."""
        done = await run((*self._prefix, "ip", "-batch", "-"), stdin="\n".join(commands))
        if done.status:
            raise NetworkError(_explain(done.stderr))

    async def listen(self, address: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """Return a socket that listens on a port in here, on a free one by default."""
        return await self._make_inside(lambda: socket.create_server((address, port), backlog=128))

    async def connect(self, address: str, port: int) -> socket.socket:
        """Return a socket connected from in here; OSError when nothing listens."""
        return await self._make_inside(
            lambda: socket.create_connection((address, port), timeout=CONNECT_SECONDS)
        )

    async def _make_inside(self, make: Callable[[], socket.socket]) -> socket.socket:
        with ThreadPoolExecutor(1, initializer=join, initargs=(self.path,)) as inside:
            made = await asyncio.get_running_loop().run_in_executor(inside, make)
        made.setblocking(False)
        return made


@asynccontextmanager
async def new_namespace(*commands: str) -> AsyncIterator[Namespace]:
    """Create a network namespace, configured by commands of ip(8), while the block runs."""
    holder = await asyncio.create_subprocess_exec(
        *(*tied_prefix(), "unshare", "--net", "--", "sh", "-c", HOLD, "\n".join(commands)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if not await holder.stdout.readline():
            raise NetworkError(_explain((await holder.stderr.read()).decode(errors="replace")))
        yield Namespace(holder.pid)
    finally:
        await end(holder)


def _explain(message: str) -> str:
    reason = " ".join(message.split())
    if "unshare" in reason:
        return f"this machine doesn't allow new network namespaces: {reason}"
    return f"ip made no network: {reason}"


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a process and wait for its end."""
    if process.returncode is None:
        process.kill()
        await process.wait()


def join(namespace: str) -> None:
    """Move the calling thread into a network namespace."""
    with open(namespace) as file:  # os.setns, which needs Python 3.12
        if _libc.setns(file.fileno(), NEW_NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)

"""Network namespaces, each held by a process of its own that ends with the engine."""

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
from daggerw_engine.process import run, tied

READY_SECONDS, POLL_SECONDS, CONNECT_SECONDS = 10.0, 0.002, 5.0
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of <linux/sched.h>
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Namespace:
    """A network namespace, by the process that holds it.

    Sockets that are made in here belong here, though the process that has them lives on the host.
    """

    holder: int

    @property
    def path(self) -> str:
        """Where the namespace is found."""
        return f"/proc/{self.holder}/ns/net"

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that put it in here, tied to the engine's life."""
        return (*tied(), "nsenter", f"--net={self.path}", "--")

    async def configure(self, *commands: str) -> None:
        """Give commands to ip(8) in here; NetworkError when it refuses one."""
        done = await run((*self.prefix, "ip", "-batch", "-"), stdin="\n".join(commands))
        if done.status:
            raise NetworkError(f"ip made no network: {' '.join(done.stderr.split())}")

    async def listen(self, address: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """Return a socket that listens on a port in here, a free one unless it is named."""
        return await self._made(lambda: socket.create_server((address, port), backlog=128))

    async def connect(self, address: str, port: int) -> socket.socket:
        """Return a socket connected from in here; OSError when nobody listens."""
        return await self._made(lambda: socket.create_connection((address, port), timeout=CONNECT_SECONDS))

    async def _made(self, make: Callable[[], socket.socket]) -> socket.socket:
        with ThreadPoolExecutor(1, initializer=join, initargs=(self.path,)) as inside:
            made = await asyncio.get_running_loop().run_in_executor(inside, make)
        made.setblocking(False)
        return made


@asynccontextmanager
async def new_namespace() -> AsyncIterator[Namespace]:
    """A new network namespace, with nothing in it, while the block runs."""
    holder = await asyncio.create_subprocess_exec(
        *tied(), "unshare", "--net", "--", "cat", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        await _unshared(holder)
        yield Namespace(holder.pid)
    finally:
        await end(holder)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a process and wait for its end."""
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _unshared(holder: asyncio.subprocess.Process) -> None:
    own = os.readlink("/proc/self/ns/net")
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while holder.returncode is None and asyncio.get_running_loop().time() < deadline:
        if os.readlink(f"/proc/{holder.pid}/ns/net") != own:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise NetworkError("unshare --net made no network: this machine doesn't allow new network namespaces")


def join(namespace: str) -> None:
    """Move the calling thread into a network namespace."""
    with open(namespace) as file:  # as os.setns does, from Python 3.12 on
        if _libc.setns(file.fileno(), NEW_NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)

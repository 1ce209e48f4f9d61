"""One private network a session: nothing in it is seen from the host, and no port of the host is taken.

Processes inside see each other on 127.0.0.1 and have a way out through slirp4netns. Sockets made by `connect`
and `listen` belong to that network though the process that holds them doesn't live there.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.errors import NetworkError
from engine.process import CONTAINED, TIED

CLONE_NEWNET = 0x40000000  # <linux/sched.h>
NAME_SERVER = "10.0.2.3"  # slirp4netns(1), "--cidr"
READY_SECONDS = 10.0


@dataclass(frozen=True)
class Network:
    """A private network that lives as long as its block."""

    holder: int
    _inside: ThreadPoolExecutor

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that put it into this network, contained, tied to the engine's life."""
        return (*TIED, "nsenter", f"--net=/proc/{self.holder}/ns/net", "--", *CONTAINED)

    async def listen(self) -> socket.socket:
        """Return a listening socket on a free port of 127.0.0.1 in here."""
        return await self._in_here(listener)

    async def connect(self, port: int) -> socket.socket:
        """Return a socket connected to `port` in here; OSError when nobody listens."""
        return await self._in_here(lambda: socket.create_connection(("127.0.0.1", port), timeout=5))

    async def _in_here(self, make: object) -> socket.socket:
        loop = asyncio.get_running_loop()
        made: socket.socket = await loop.run_in_executor(self._inside, make)  # type: ignore[arg-type]
        made.setblocking(False)
        return made


@asynccontextmanager
async def private_network() -> AsyncIterator[Network]:
    """Make a private network; raises NetworkError when the machine doesn't let us."""
    holder = await asyncio.create_subprocess_exec(
        *TIED, "unshare", "--net", "--", "cat", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    outward: asyncio.subprocess.Process | None = None
    inside: ThreadPoolExecutor | None = None
    try:
        await _unshared(holder.pid)
        outward = await _way_out(holder.pid)
        inside = ThreadPoolExecutor(1, initializer=enter_network, initargs=(holder.pid,))
        yield Network(holder.pid, inside)
    finally:
        if inside:
            inside.shutdown(wait=False)
        for process in (outward, holder):
            if process and process.returncode is None:
                process.kill()
                await process.wait()


async def _unshared(pid: int) -> None:
    own = os.readlink("/proc/self/ns/net")
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while os.readlink(f"/proc/{pid}/ns/net") == own:
        if asyncio.get_running_loop().time() > deadline:
            raise NetworkError(
                "unshare --net made no network: this machine doesn't allow new network namespaces"
            )
        await asyncio.sleep(0.002)


async def _way_out(pid: int) -> asyncio.subprocess.Process:
    reader, writer = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *TIED,
            *("slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--ready-fd={writer}"),
            *(str(pid), "tap0"),
            pass_fds=(writer,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    finally:
        os.close(writer)
    try:
        ready = await asyncio.wait_for(asyncio.to_thread(os.read, reader, 1), READY_SECONDS)
    finally:
        os.close(reader)
    if not ready:
        _, told = await process.communicate()
        raise NetworkError(f"slirp4netns made no network: {told.decode(errors='replace').strip()}")
    return process


def enter_network(pid: int) -> None:
    """Move the calling thread into the network that a process lives in."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def host_listener(port: int, backend: int) -> socket.socket:
    """Return a socket bound to a port of the host's loopback that is to lead to `backend`.

    Raises NetworkError when it can't be had.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as refused:
        bound.close()
        raise NetworkError(
            f"port {port} of this host can't be had ({refused.strerror}): "
            f"choose another one with --ports PORT:{backend}"
        ) from refused
    return bound


def listener() -> socket.socket:
    """Return a listening socket on a free port of this network's loopback."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    return listening

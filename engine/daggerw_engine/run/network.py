"""One private network a session: nothing in it is seen from the host, and no port of the host is taken.

    the host <- slirp4netns -> tap0 = bridge = eth0 of each service
                                 |
                  commands and module code (10.0.2.100)

Every service has an address, and so all ports, of its own; all have a way out. slirp4netns takes whatever
frame it sees for its own: what is meant for a service that isn't there yet must not be flooded to it.
Sockets made by `connect` and `listen` belong to the session's part, though the process that holds them lives
on the host.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.errors import NetworkError
from daggerw_engine.process import CONTAINED, run, tied

NEW_NETWORK = 0x40000000  # CLONE_NEWNET of <linux/sched.h>
_libc = ctypes.CDLL(None, use_errno=True)
MTU = 65520  # the most that slirp4netns takes
# The addresses that slirp4netns(1) gives out.
SUBNET, GATEWAY, NAME_SERVER, OWN = "10.0.2.", "10.0.2.2", "10.0.2.3", "10.0.2.100"
FIRST_SERVICE, LAST_SERVICE = 101, 254
# Hardware addresses, with an address's last number at the end. Others remember them for up to 45 s, so
# that who comes again has to have its own again. A bridge would take the least of those that are there.
HARDWARE = "02:00:0a:00:02:"
READY_SECONDS = 10.0
TUNNEL = "/dev/net/tun"
BRIDGE = (
    f"link add bridge address {HARDWARE}64 mtu {MTU} type bridge",
    "address flush dev tap0",
    "link set tap0 master bridge",
    "link set tap0 type bridge_slave flood off",
    f"address add {OWN}/24 dev bridge",
    "link set bridge up",
    f"route add default via {GATEWAY}",
)


@dataclass(frozen=True)
class Network:
    """A private network that lives as long as its block."""

    holder: int
    _inside: ThreadPoolExecutor

    @property
    def namespace(self) -> str:
        """Where the runner finds the part that commands live in."""
        return _namespace_path(self.holder)

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that put it into this network, tied to the engine's life."""
        return (*tied(), "nsenter", f"--net={self.namespace}", "--")

    async def listen(self) -> socket.socket:
        """Return a listening socket on a free port of 127.0.0.1 in here."""
        return await self._in_here(listener)

    async def connect(self, address: str, port: int) -> socket.socket:
        """Return a socket connected from here; OSError when nobody listens."""
        return await self._in_here(lambda: socket.create_connection((address, port), timeout=5))

    async def _in_here(self, make: Callable[[], socket.socket]) -> socket.socket:
        made = await asyncio.get_running_loop().run_in_executor(self._inside, make)
        made.setblocking(False)
        return made

    @asynccontextmanager
    async def joined(self, address: str) -> AsyncIterator[str]:
        """A host of its own on this network, with `address`; yields where the runner finds it."""
        number = int(address.rpartition(".")[2])
        name = f"service{number}"
        peer = f"eth0 address {HARDWARE}{number:02x} mtu {MTU}"
        async with _namespace() as pid:
            wire = f"link add {name} mtu {MTU} type veth peer name {peer} netns {pid}"
            await _ip(self.holder, wire, f"link set {name} master bridge up")
            try:
                own = (f"address add {address}/24 dev eth0", "link set eth0 up", "link set lo up")
                await _ip(pid, *own, f"route add default via {GATEWAY}")
                yield _namespace_path(pid)
            finally:
                # The kernel would take the wire away, too, but some time after the namespace's end.
                await _ip(self.holder, f"link delete {name}", f"neigh flush to {address} dev bridge")


def service_address(number: int) -> str:
    """Return the address of a session's service by its number, from 0; NetworkError past the last one."""
    if number > LAST_SERVICE - FIRST_SERVICE:
        raise NetworkError(f"a session has room for {number} services, and this is one more")
    return f"{SUBNET}{FIRST_SERVICE + number}"


@asynccontextmanager
async def private_network() -> AsyncIterator[Network]:
    """Make a private network; raises NetworkError when the machine doesn't let us."""
    async with AsyncExitStack() as stack:
        holder = await stack.enter_async_context(_namespace())
        stack.push_async_callback(_ended, await _way_out(holder))
        await _ip(holder, *BRIDGE)
        inside = ThreadPoolExecutor(1, initializer=enter_network, initargs=(holder,))
        stack.callback(inside.shutdown, wait=False)
        yield Network(holder, inside)


def _namespace_path(pid: int) -> str:
    return f"/proc/{pid}/ns/net"


def module_prefix(network: Network, folder: Path) -> tuple[str, ...]:
    """Return the words before a command that is to live in the network and to resolve its names.

    What it resolves names with is kept in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {NAME_SERVER}\n")
    return (
        *network.prefix,
        *CONTAINED,
        "sh",
        "-c",
        'mount --bind "$0" /etc/resolv.conf && exec "$@"',
        str(resolver),
    )


async def _ip(pid: int, *commands: str) -> None:
    words = (*tied(), "nsenter", f"--net={_namespace_path(pid)}", "--", "ip", "-batch", "-")
    done = await run(words, stdin="\n".join(commands))
    if done.status:
        raise NetworkError(f"ip made no network: {' '.join(done.stderr.split())}")


@asynccontextmanager
async def _namespace() -> AsyncIterator[int]:
    """A process in a network of its own, while the block runs; yields its id."""
    holder = await asyncio.create_subprocess_exec(
        *tied(), "unshare", "--net", "--", "cat", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        await _unshared(holder.pid)
        yield holder.pid
    finally:
        await _ended(holder)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
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
            *tied(),
            *(
                "slirp4netns",
                "--configure",
                f"--mtu={MTU}",
                "--disable-host-loopback",
                f"--ready-fd={writer}",
            ),
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
        raise NetworkError(_refused(" ".join(told.decode(errors="replace").split())))
    return process


def _refused(told: str) -> str:
    if TUNNEL in told:
        return f"{TUNNEL} isn't open to this user: an administrator allows it with `chmod 0666 {TUNNEL}`"
    return f"slirp4netns made no network: {told}"


def enter_network(pid: int) -> None:
    """Move the calling thread into the network that a process lives in."""
    join(_namespace_path(pid))


def join(namespace: str) -> None:
    """Move the calling thread into a network namespace."""
    with open(namespace) as file:  # as os.setns does, from Python 3.12 on
        if _libc.setns(file.fileno(), NEW_NETWORK):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)


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


async def listening_in(namespace: str, port: int) -> socket.socket:
    """Return a socket that listens on a port of all addresses of a host on a private network."""

    def listening() -> socket.socket:
        return socket.create_server(("0.0.0.0", port), backlog=128)

    with ThreadPoolExecutor(1, initializer=join, initargs=(namespace,)) as inside:
        made = await asyncio.get_running_loop().run_in_executor(inside, listening)
    made.setblocking(False)
    return made


def listener() -> socket.socket:
    """Return a listening socket on a free port of this network's loopback."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    return listening

"""Private network of a session, invisible from the host, without use of the host's ports.

    the host <- slirp4netns -> tap0 = bridge = eth0 of each container and of the module
    bound container -> veth -> service

Hosts on the bridge reach only the gateway: its ports are isolated from each other. A container bound to a
service has a separate veth pair to it. slirp4netns accepts every frame that it receives: frames for a
container that does not exist yet must not be flooded to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path

from daggerw_engine.errors import NetworkError
from daggerw_engine.process import CONTAINED, run, tied_prefix
from daggerw_engine.run.namespaces import READY_SECONDS, Namespace, end, new_namespace

MTU = 65520  # the most that slirp4netns takes
# Addresses of slirp4netns(1).
SUBNET, GATEWAY, NAME_SERVER, MODULE = "10.0.2.", "10.0.2.2", "10.0.2.3", "10.0.2.100"
FIRST_COMMAND, FIRST_SERVICE, LAST_SERVICE = 10, 101, 254
# MAC addresses, which end with the last number of the IP address. Other hosts cache them for up to 45 s, so a
# restarted host must have the same one. A bridge would take the lowest of its ports' addresses.
HARDWARE = "02:00:0a:00:02:"
LINK_LOCAL = "169.254.0.0/16"  # the metadata services of clouds, which give out identities and tokens
TUNNEL = "/dev/net/tun"
PROXY_TABLE, PROXY_PREFERENCE = 100, 100
BRIDGE = (
    f"link add bridge address {HARDWARE}01 mtu {MTU} type bridge",
    "address flush dev tap0",
    "link set tap0 master bridge",
    "link set tap0 type bridge_slave flood off",
    "link set bridge up",
)

Proxy = tuple[str, int]


@dataclass(frozen=True)
class Peer:
    """Host on the private network: a container, or the module."""

    address: str
    namespace: Namespace


@dataclass
class Network:
    """Private network that exists while its block runs.

    Nothing on it reaches the `blocked` addresses of the host, except a proxy's port there.
    """

    _way_out: Namespace
    _blocked: Sequence[str]
    _proxies: Sequence[Proxy]
    _wires: count[int] = field(default_factory=lambda: count(1))
    _free: cycle[int] = field(default_factory=lambda: cycle(range(FIRST_COMMAND, FIRST_SERVICE - 1)))
    _taken: set[int] = field(default_factory=set)
    _services: list[Peer] = field(default_factory=list)
    module: Peer | None = None  # connected to each started service

    @asynccontextmanager
    async def add_host(self, address: str) -> AsyncIterator[Peer]:
        """Create a host on this network, with `address`, while the block runs."""
        name = f"port{next(self._wires)}"
        async with new_namespace(*self._of_peer(address, name)) as namespace:
            await self._way_out.configure(
                f"link set {name} master bridge up", f"link set {name} type bridge_slave isolated on"
            )
            yield Peer(address, namespace)
            # The kernel also removes the pair, but some time after the namespace's end.
            await self._way_out.configure(f"link delete {name}")

    def _of_peer(self, address: str, name: str) -> list[str]:
        """Return the commands for a new host: its link to the bridge, its routes, its blocked addresses."""
        hardware = f"{HARDWARE}{int(address.rpartition('.')[2]):02x}"
        far = f"peer name {name} mtu {MTU} netns {self._way_out.holder}"
        return [
            f"link add eth0 address {hardware} mtu {MTU} type veth {far}",
            "link set lo up",
            f"address add {address}/32 dev eth0",
            "link set eth0 up",
            *(f"route add {each}/32 dev eth0" for each in (GATEWAY, NAME_SERVER)),
            f"route add default via {GATEWAY}",
            *(f"route add unreachable {each}" for each in (f"{SUBNET}0/24", LINK_LOCAL, *self._blocked)),
            *self._proxy_routes(),
        ]

    def _proxy_routes(self) -> list[str]:
        reached = [(host, port) for host, port in self._proxies if host in self._blocked]
        ways = [
            f"rule add to {host} ipproto tcp dport {port} lookup {PROXY_TABLE} pref {PROXY_PREFERENCE}"
            for host, port in reached
        ]
        return [*ways, f"route add default via {GATEWAY} dev eth0 table {PROXY_TABLE}"] if ways else []

    @asynccontextmanager
    async def with_module(self) -> AsyncIterator[Peer]:
        """Create the module's host while the block runs."""
        async with self.add_host(MODULE) as self.module:
            yield self.module

    @asynccontextmanager
    async def service(self, address: str, services: Iterable[Peer]) -> AsyncIterator[Peer]:
        """Create a host for a service, connected to other services, while the block runs.

        As in Dagger, the module and the running services reach it.
        """
        async with self.add_host(address) as peer:
            for other in services:
                await self.connect(peer, other)
            for client in (*([self.module] if self.module else []), *self._services):
                await self.connect(client, peer)
            self._services.append(peer)
            try:
                yield peer
            finally:
                self._services.remove(peer)

    @asynccontextmanager
    async def command(self, services: Iterable[Peer] = ()) -> AsyncIterator[Peer]:
        """Create a host for one command, connected to these services and the gateway."""
        number = next(each for each in self._free if each not in self._taken)
        self._taken.add(number)
        try:
            async with self.add_host(f"{SUBNET}{number}") as client:
                for service in services:
                    await self.connect(client, service)
                yield client
        finally:
            self._taken.remove(number)

    @asynccontextmanager
    async def command_prefix(self) -> AsyncIterator[Sequence[str]]:
        """Yield the command prefix for a new host that is connected to the gateway."""
        async with self.command() as peer:
            yield peer.namespace.prefix

    async def connect(self, client: Peer, service: Peer) -> None:
        """Connect a client to a service by a veth pair that ends when one of them does."""
        number = next(self._wires)
        near, far = f"to{number}", f"from{number}"
        await client.namespace.configure(
            f"link add {near} mtu {MTU} type veth peer name {far} mtu {MTU} netns {service.namespace.holder}",
            f"link set {near} up",
            f"route replace {service.address}/32 dev {near} src {client.address}",
        )
        await service.namespace.configure(
            f"link set {far} up", f"route replace {client.address}/32 dev {far} src {service.address}"
        )


def service_address(number: int) -> str:
    """Return the address of a session's service by its number, from 0; NetworkError above the last one."""
    if number > LAST_SERVICE - FIRST_SERVICE:
        raise NetworkError(f"a session has at most {number} services, and this is one more")
    return f"{SUBNET}{FIRST_SERVICE + number}"


@asynccontextmanager
async def private_network(proxies: Iterable[Proxy] = ()) -> AsyncIterator[Network]:
    """Create a private network; NetworkError when the machine does not permit it."""
    async with AsyncExitStack() as stack:
        way_out = await stack.enter_async_context(new_namespace())
        process, blocked = await asyncio.gather(_connect_to_host(way_out), host_addresses())
        stack.push_async_callback(end, process)
        await way_out.configure(*BRIDGE)
        yield Network(way_out, blocked, list(proxies))


def module_prefix(module: Peer, folder: Path) -> tuple[str, ...]:
    """Return the command prefix for a command on the network that resolves its names.

    Its resolver's files are in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {NAME_SERVER}\n")
    resolving = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return (*module.namespace.prefix, *CONTAINED, "sh", "-c", resolving, str(resolver))


async def host_addresses() -> list[str]:
    """Return this host's IPv4 addresses, without those of the loopback."""
    done = await run((*tied_prefix(), "ip", "-json", "-family", "inet", "address"))
    if done.status:
        raise NetworkError(f"ip prints no addresses: {' '.join(done.stderr.split())}")
    addresses = [each for link in json.loads(done.stdout or "[]") for each in link.get("addr_info", [])]
    return sorted({each["local"] for each in addresses if not each["local"].startswith("127.")})


async def _connect_to_host(namespace: Namespace) -> asyncio.subprocess.Process:
    reader, writer = os.pipe()
    options = ("--configure", f"--mtu={MTU}", "--disable-host-loopback", f"--ready-fd={writer}")
    try:
        process = await asyncio.create_subprocess_exec(
            *(*tied_prefix(), "slirp4netns", *options, str(namespace.holder), "tap0"),
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
        _, message = await process.communicate()
        raise NetworkError(_explain(" ".join(message.decode(errors="replace").split())))
    return process


def _explain(message: str) -> str:
    if TUNNEL in message:
        return f"{TUNNEL} isn't open to this user: an administrator allows it with `chmod 0666 {TUNNEL}`"
    return f"slirp4netns made no network: {message}"


def host_listener(port: int, backend: int) -> socket.socket:
    """Return a socket bound to a port of the host's loopback, for forwarding to `backend`.

    Raises NetworkError when the port can't be bound.
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

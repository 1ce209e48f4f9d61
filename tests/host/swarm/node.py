"""Real Docker daemons as nodes of a swarm, in namespaces of their own: nothing of them stays on the host."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from engine_process import children, until

# For documentation (RFC 5737): unused on any network.
HOST, NODE, REGISTRY = "198.51.100.1", "198.51.100.2", "198.51.100.254"
BRIDGE = "swarm0"
# A machine of its own: the engine blocks the host's addresses, also for a pipeline that pulls.
REGISTRY_NAMESPACE = f"swarm-registry-{os.getpid()}"
PATIENCE = 60.0
DAEMON = """
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip address add {node}/24 dev eth0
ip link set eth0 up
exec dockerd --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid --log-level warn \
    --host unix://{folder}/docker.sock --insecure-registry {registry}/32 --iptables={filters}
"""
SERVICE = Path(__file__).with_name("service.py")


@dataclass(frozen=True)
class Node:
    """A daemon's address and socket, and its process in the host's numbers."""

    address: str
    socket: Path
    process: int

    def client(self) -> httpx.Client:
        """Return a client of the daemon."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://docker", timeout=60
        )


@contextmanager
def swarm_node(folder: Path) -> Iterator[Node]:
    """Run a swarm of one node while the block runs."""
    with swarm_nodes(folder, 1) as (node,):
        yield node


@contextmanager
def swarm_nodes(folder: Path, number: int, *, filters: bool = False) -> Iterator[list[Node]]:
    """Run a swarm of so many nodes while the block runs; the first one is its manager.

    With packet filters ports lead to containers as on other machines, without them through Docker's proxy.
    """
    with ExitStack() as stack:
        stack.callback(_ip, "link", "delete", BRIDGE)
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("address", "add", f"{HOST}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        stack.enter_context(_registry_machine())
        nodes = [stack.enter_context(_daemon(folder / str(each), each, filters)) for each in range(number)]
        _join(nodes)
        yield nodes


@contextmanager
def _registry_machine() -> Iterator[None]:
    """Have the namespace in which a registry can run, while the block runs."""
    name, link = REGISTRY_NAMESPACE, f"{BRIDGE}.registry"[:15]
    _ip("netns", "add", name)
    try:
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", link, "master", BRIDGE, "up")
        _ip("-n", name, "address", "add", f"{REGISTRY}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        yield
        _ip("link", "delete", link)  # a socket may keep the namespace for a while
    finally:
        _ip("netns", "delete", name)


@contextmanager
def _daemon(folder: Path, number: int, filters: bool) -> Iterator[Node]:
    """Run a daemon while the block runs."""
    folder.mkdir()
    address = f"198.51.100.{number + 2}"
    script = DAEMON.format(folder=folder, registry=REGISTRY, node=address, filters=str(filters).lower())
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words = ["unshare", *namespaces, "sh", "-ec", script]
    link = f"{BRIDGE}.{number}"
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            until(lambda: bool(children(process.pid)), "the namespaces are there", PATIENCE)
            inside = children(process.pid)[0]
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(inside))
            _ip("link", "set", link, "master", BRIDGE, "up")
            node = Node(address, folder / "docker.sock", inside)
            until(
                partial(_up, node, process),
                f"dockerd answers: {(folder / 'log').read_text()[-500:]}",
                PATIENCE,
            )
            yield node
        finally:
            process.kill()
            process.wait()
            # The kernel removes it with its namespace, but later than the next test may begin.
            subprocess.run(["ip", "link", "delete", link], check=False, stderr=subprocess.DEVNULL)


def _join(nodes: list[Node]) -> None:
    """Make one swarm of the nodes."""
    manager, *workers = nodes
    with manager.client() as client:
        joined = {"ListenAddr": f"{manager.address}:2377", "AdvertiseAddr": manager.address}
        client.post("/swarm/init", json=joined).raise_for_status()
        token = client.get("/swarm").raise_for_status().json()["JoinTokens"]["Worker"]
    for node in workers:
        own = {"ListenAddr": f"{node.address}:2377", "AdvertiseAddr": node.address, "JoinToken": token}
        with node.client() as client:
            joining = client.post("/swarm/join", json={**own, "RemoteAddrs": [f"{manager.address}:2377"]})
            # 503 says that it takes more than 20 s, and goes on.
            assert joining.is_success or joining.status_code == httpx.codes.SERVICE_UNAVAILABLE, joining.text
            until(partial(_is_active, client), "the node has joined", PATIENCE)


def _is_active(client: httpx.Client) -> bool:
    state: str = client.get("/info").raise_for_status().json()["Swarm"]["LocalNodeState"]
    return state == "active"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _up(node: Node, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "dockerd has ended"
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(node.socket)) == 0

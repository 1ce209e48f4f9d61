"""A real Docker daemon, a swarm of one node, in namespaces of its own: nothing of it stays on the host."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from engine_process import children, until

# For documentation (RFC 5737): unused on any network.
HOST, NODE = "198.51.100.1", "198.51.100.2"
PATIENCE = 60.0
DAEMON = """
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip address add {node}/24 dev eth0
ip link set eth0 up
exec dockerd --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid --log-level warn \
    --host unix://{folder}/docker.sock --insecure-registry {host}/32 --iptables=false
"""
INTERPRETER = "/venv/bin/python"  # as in the project's own image
SERVICE = Path(__file__).with_name("swarm_service.py")


@dataclass(frozen=True)
class Node:
    """The daemon's socket, its process in the host's numbers, and the file system that its images have."""

    socket: Path
    process: int

    def client(self) -> httpx.Client:
        """Return a client of the daemon."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://docker", timeout=30
        )


@contextmanager
def swarm_node(folder: Path) -> Iterator[Node]:
    """Run a node while the block runs."""
    script = DAEMON.format(folder=folder, host=HOST, node=NODE)
    words = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-ec",
        script,
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            until(lambda: bool(children(process.pid)), "the namespaces are there", PATIENCE)
            inside = children(process.pid)[0]
            _connect(inside)
            node = Node(folder / "docker.sock", inside)
            until(
                partial(_up, node, process),
                f"dockerd answers: {(folder / 'log').read_text()[-500:]}",
                PATIENCE,
            )
            joined = {"ListenAddr": f"{NODE}:2377", "AdvertiseAddr": NODE}
            with node.client() as client:
                client.post("/swarm/init", json=joined).raise_for_status()
            yield node
        finally:
            process.kill()
            process.wait()
            subprocess.run(["ip", "link", "delete", "swarm0"], check=False, stderr=subprocess.DEVNULL)


def _connect(inside: int) -> None:
    wire = ["ip", "link", "add", "swarm0", "type", "veth", "peer", "name", "eth0", "netns", str(inside)]
    for words in (
        wire,
        ["ip", "address", "add", f"{HOST}/24", "dev", "swarm0"],
        ["ip", "link", "set", "swarm0", "up"],
    ):
        subprocess.run(words, check=True)


def _up(node: Node, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "dockerd has ended"
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(node.socket)) == 0

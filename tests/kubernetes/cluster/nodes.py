"""Nodes of the cluster: kubelet processes that can be lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kubernetes.cluster.control_plane import ControlPlane, until
from tests.kubernetes.cluster.pod_process import make_bridge

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Cluster:
    """A control plane with nodes; `images` has a file for each image, by the digest's hexadecimal digits."""

    plane: ControlPlane
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def images(self) -> Path:
        """Return the folder that nodes pull from."""
        return self.plane.folder / "images"

    def add_node(self, name: str) -> None:
        """Start a node and return once it takes pods."""
        words = [sys.executable, "-m", "tests.kubernetes.cluster.kubelet", name, str(self.plane.folder)]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "KUBELET_TOKEN": self.plane.tokens["admin"],
        }
        with (self.plane.folder / f"{name}.log").open("ab") as log:
            self.nodes[name] = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=log, stderr=log)
        until(lambda: self._takes_pods(name), f"{name} takes pods")

    def lose_node(self, name: str) -> None:
        """Kill a node with all that runs there."""
        process = self.nodes.pop(name)
        process.kill()
        process.wait()

    def _takes_pods(self, name: str) -> bool:
        assert self.nodes[name].poll() is None, self.plane.log(name)
        with self.plane.client() as client:
            answer = client.get(f"/api/v1/nodes/{name}")
            return answer.is_success and not answer.json()["spec"].get("taints")


@contextmanager
def cluster(plane: ControlPlane, number: int) -> Iterator[Cluster]:
    """Run so many nodes while the block runs."""
    (plane.folder / "images").mkdir()
    make_bridge()
    started = Cluster(plane)
    try:
        for each in range(1, number + 1):
            started.add_node(f"node-{each}")
        yield started
    finally:
        for name in list(started.nodes):
            started.lose_node(name)

"""Nodes of the cluster: kubelet processes that can be lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kubernetes.cluster.control_plane import ControlPlane, wait_until
from tests.kubernetes.cluster.pod_process import make_bridge

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Cluster:
    """A control plane with nodes; `images` has a file for each image, named by the digest's digits."""

    plane: ControlPlane
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def images(self) -> Path:
        """Return the folder that nodes pull from."""
        return self.plane.folder / "images"

    def add_node(self, name: str) -> None:
        """Start a node and return once it accepts pods."""
        command = [sys.executable, "-m", "tests.kubernetes.cluster.kubelet", name, str(self.plane.folder)]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "KUBELET_TOKEN": self.plane.tokens["admin"],
        }
        with (self.plane.folder / f"{name}.log").open("ab") as log:
            self.nodes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        wait_until(lambda: self._accepts_pods(name), f"{name} accepts pods")

    def lose_node(self, name: str) -> None:
        """Kill a node and all its pods."""
        process = self.nodes.pop(name)
        process.kill()
        process.wait()

    def _accepts_pods(self, name: str) -> bool:
        assert self.nodes[name].poll() is None, self.plane.read_log(name)
        with self.plane.open_client() as client:
            response = client.get(f"/api/v1/nodes/{name}")
            return response.is_success and not response.json()["spec"].get("taints")


@contextmanager
def run_cluster(plane: ControlPlane, number: int) -> Iterator[Cluster]:
    """Run a number of nodes while the block runs."""
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

"""Kubernetes: a real control plane on loopback, and nodes that run the service in network namespaces."""

from __future__ import annotations

import os
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.places.place import ROOT, Place, run_program, train_model
from deploying.rollout.target import Address, Target
from net.retry_policy import Retrying
from oci.reference import Release
from tests.kubernetes.cluster.control_plane import run_control_plane
from tests.kubernetes.cluster.nodes import run_cluster
from tests.kubernetes.lab import ClusterLab

_PORT = 9000
_LOOK = 0.2  # seconds between two looks at the service's endpoints; kube-proxy syncs once a second at most


@dataclass
class KubernetesPlace:
    """A namespace of the cluster."""

    lab: ClusterLab
    model: Path
    folder: Path

    @asynccontextmanager
    async def open_target(self) -> AsyncIterator[tuple[Target, Retrying]]:
        """Open the driver, as the deployer."""
        context = ssl.create_default_context(cadata=self.lab.cluster.plane.authority)
        async with httpx.AsyncClient(timeout=30, verify=context, trust_env=False) as http:
            client = Retrying(http)
            yield self.lab.target(client), client

    async def publish(self, tag: str) -> Release:
        """Give the nodes an image that runs the project's own service."""
        environment = {"PYTHONPATH": str(ROOT), "MODEL_VERSION": tag, "MODEL_DIR": str(self.model)}
        return self.lab.publish(tag, [sys.executable, "-m", "app"], environment)

    async def users_address(self, target: Target) -> Address:
        """Return the balancer's address: users don't come through the API server."""
        return Address(f"http://127.0.0.1:{_PORT}")

    def follow_endpoints(self, over: threading.Event) -> None:
        """Write down which pods are ready, as kube-proxy does, until it is over."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.lab.namespace}/endpointslices"
        chosen = {"labelSelector": "kubernetes.io/service-name=milestone2"}
        with self.lab.cluster.plane.open_client() as client:
            while not over.wait(_LOOK):
                listed = client.get(path, params=chosen).raise_for_status().json()["items"]
                ready = [
                    f"{each['addresses'][0]}:8080"
                    for slice_ in listed
                    for each in slice_.get("endpoints") or []
                    if each["conditions"]["ready"]
                ]
                (self.folder / "written").write_text("\n".join(ready))
                (self.folder / "written").rename(self.folder / "endpoints")


@contextmanager
def kubernetes(folder: Path) -> Iterator[Place]:
    """Run a cluster of three nodes, with nothing deployed yet."""
    folder.chmod(0o755)
    (folder / "plane").mkdir()
    model = train_model(folder)
    for each in [model, *model.rglob("*")]:
        each.chmod(0o755)
    programs, over = Path(os.environ["KUBERNETES_PROGRAMS"]), threading.Event()
    with ExitStack() as stack:
        plane = stack.enter_context(run_control_plane(programs, folder / "plane"))
        nodes = stack.enter_context(run_cluster(plane, 3))
        place = KubernetesPlace(ClusterLab(nodes).fresh(), model, folder)
        (folder / "endpoints").write_text("")
        following = threading.Thread(target=place.follow_endpoints, args=[over])
        following.start()
        stack.callback(following.join)
        stack.callback(over.set)
        words = ("bench/places/balancer.py", str(_PORT), str(folder / "endpoints"))
        stack.enter_context(run_program(*words, environment=os.environ))
        yield place

"""Docker Swarm: real daemons as two nodes in network namespaces, before them a balancer of connections."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.places.place import ROOT, Place, run_program, train_model
from deploying.rollout.target import Address, Target
from deploying.targets.api_client import Api
from deploying.targets.swarm import Settings, Swarm, is_conflict, template
from net.retry_policy import Retrying
from oci.reference import Release
from tests.ci.conftest import serving_registry
from tests.host.swarm.image import archive, layer, publish, python_tree
from tests.host.swarm.node import REGISTRY, REGISTRY_NAMESPACE, Node, swarm_nodes

_PORT, _SERVED = 9000, 8080


@dataclass
class SwarmPlace:
    """A swarm of as many nodes as replicas."""

    nodes: list[Node]
    registry_url: str
    layers: list[bytes]
    folder: Path
    model: Path

    @asynccontextmanager
    async def open_target(self) -> AsyncIterator[tuple[Target, Retrying]]:
        """Open the driver, at the manager's socket."""
        settings = Settings("milestone2", _SERVED, replicas=len(self.nodes), order="stop-first")
        service = template((ROOT / "deploy/swarm/service.yaml").read_text())
        docker = httpx.AsyncHTTPTransport(uds=str(self.nodes[0].socket))
        async with (
            httpx.AsyncClient(timeout=30, trust_env=False) as http,
            httpx.AsyncClient(timeout=30, transport=docker) as socket,
        ):
            api = Api("Docker", "http://docker", Retrying(socket), means_conflict=is_conflict)
            yield Swarm(settings, service, api, http), Retrying(http)

    async def publish(self, tag: str) -> Release:
        """Publish an image of the project's own service."""
        variables = ["PYTHONPATH=/packages:/", "MODEL_DIR=/model", f"MODEL_VERSION={tag}"]
        made = archive(self.folder / f"{tag}.tar", self.layers, ["-m", "app"], variables)
        return await publish(made, self.registry_url, "bench/milestone2", tag)

    async def users_address(self, target: Target) -> Address:
        """Return the balancer's address."""
        return Address(f"http://127.0.0.1:{_PORT}")


@contextmanager
def swarm(folder: Path) -> Iterator[Place]:
    """Run a swarm of two nodes, with nothing deployed yet."""
    model = train_model(folder)
    packages = folder / "packages"
    installing = ["-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    words = [*installing, "--compile-bytecode", "--target", str(packages), "-r", "app/requirements.txt"]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)
    base = layer({}, {".": python_tree(folder), "packages": packages})
    own = layer({}, {"app": ROOT / "app", "model": model})
    (folder / "swarm").mkdir()
    (folder / "addresses").write_text("")
    with ExitStack() as stack:
        nodes = stack.enter_context(swarm_nodes(folder / "swarm", 2, filters=True))
        url = stack.enter_context(serving_registry("docker-registry", folder, REGISTRY, REGISTRY_NAMESPACE))
        (folder / "addresses").write_text("\n".join(f"{node.address}:{_SERVED}" for node in nodes))
        balancing = ("bench/places/balancer.py", str(_PORT), "--next", str(folder / "addresses"))
        stack.enter_context(run_program(*balancing, environment=os.environ))
        yield SwarmPlace(nodes, url, [base, own], folder, model)

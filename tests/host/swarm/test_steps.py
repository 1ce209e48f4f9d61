"""A careful first step on a real Docker Swarm of two nodes: one instance goes first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploying.rollout.judge import Judging
from deploying.rollout.target import Target
from deploying.targets.swarm import Settings
from engine_process import until
from oci.reference import Release
from tests.ci.deploying.targets import test_conformance as conformance
from tests.ci.deploying.targets.labs.lab import worker
from tests.host.swarm import test_deploying
from tests.host.swarm.node import Node, swarm_nodes
from tests.host.swarm.test_deploying import CANDIDATE_PORT, PORT, SwarmLab, run_registry

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root"),
    pytest.mark.skipif(not shutil.which("dockerd"), reason="Debian's docker.io is not installed"),
]
TWO = Settings("milestone2", PORT, CANDIDATE_PORT, replicas=2, order="stop-first", deadline=60)

base = test_deploying.base
test_a_model_that_is_wrong_for_users_is_undone_at_the_first_share = (
    conformance.test_a_model_that_is_wrong_for_users_is_undone_at_the_first_share
)
test_a_rollback_takes_a_running_deployment_over_which_then_stops = (
    conformance.test_a_rollback_takes_a_running_deployment_over_which_then_stops
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Yield the swarm's nodes."""
    with swarm_nodes(tmp_path_factory.mktemp("swarm"), 2) as nodes:
        yield nodes


@pytest.fixture
def lab(
    nodes: list[Node], base: bytes, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SwarmLab]:
    """Yield a lab, and leave none of its services."""
    with run_registry(tmp_path_factory.mktemp("registry")) as address:
        yield SwarmLab(nodes[0], address, base, tmp_path, TWO)
        with nodes[0].client() as client:
            for service in client.get("/services").json():
                client.delete(f"/services/{service['ID']}")
        for node in nodes:
            with node.client() as client:
                until(lambda: not client.get("/containers/json").json(), "all containers have ended", 60)


@dataclass
class Counting:
    """A judge who asks every node which version answers there, at each step."""

    inner: Judging
    nodes: list[Node]
    seen: dict[str, list[str]]

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Ask, then let the verdict fall."""
        async with httpx.AsyncClient(timeout=60) as http:
            self.seen[step] = sorted([await self._version(http, node) for node in self.nodes])
        await self.inner.judge(target, release, step)

    async def _version(self, http: httpx.AsyncClient, node: Node) -> str:
        answer = await http.post(f"http://{node.address}:{PORT}/predict", json={"features": [1]})
        version: str = answer.raise_for_status().json()["model_version"]
        return version


async def test_one_node_is_first_and_the_rest_follows(lab: SwarmLab, nodes: list[Node]) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    seen: dict[str, list[str]] = {}
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        await deployer.deployment.deploy(second, Counting(deployer.judge, nodes, seen))
        assert seen == {
            "stage": ["v1.0.0", "v1.0.0"],
            "shift to 50 %": ["v1.0.0", "v1.1.0"],
            "shift to 100 %": ["v1.1.0", "v1.1.0"],
        }

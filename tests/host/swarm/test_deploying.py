"""Deployments to a real Docker Swarm: the conformance suite's essence, its healing, and the pipeline's own.

One node cannot start a new instance first on a port of its own that the old one has, so the order here is
stop-first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from deploying.rollout.target import Target
from deploying.targets.api_client import Api
from deploying.targets.swarm import Settings, Swarm, is_conflict, template
from engine_process import children, until, words_of
from errors import RolledBack
from net.retry_policy import Retrying
from oci.reference import Release
from tests.ci.conftest import serving_registry
from tests.ci.deploying.targets import test_conformance as conformance
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import Killed, Lab, worker
from tests.host.certificates import certify, trust
from tests.host.swarm.image import INTERPRETER, archive, layer, publish, python_tree
from tests.host.swarm.node import NODE, REGISTRY, REGISTRY_NAMESPACE, SERVICE, Node, swarm_node

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root"),
    pytest.mark.skipif(not shutil.which("dockerd"), reason="Debian's docker.io is not installed"),
]
PORT, CANDIDATE_PORT = 8080, 8081
ALONE = Settings("milestone2", PORT, CANDIDATE_PORT, order="stop-first", deadline=60)
ROOT = Path(__file__).resolve().parents[3]
UPDATE = 6  # of the changes: the journal's beginning, stage, its candidate anew, shift, and this

test_a_first_release_and_one_over_it_go_live = conformance.test_a_first_release_and_one_over_it_go_live
test_an_unchanged_release_changes_nothing_and_says_so = (
    conformance.test_an_unchanged_release_changes_nothing_and_says_so
)
test_of_two_deployments_at_once_the_second_is_refused_by_name = (
    conformance.test_of_two_deployments_at_once_the_second_is_refused_by_name
)
test_a_rollback_takes_a_running_deployment_over_which_then_stops = (
    conformance.test_a_rollback_takes_a_running_deployment_over_which_then_stops
)
test_what_was_changed_since_it_was_seen_is_not_written_over = (
    conformance.test_what_was_changed_since_it_was_seen_is_not_written_over
)


@dataclass
class Plain(httpx.AsyncBaseTransport):
    """Sends requests for the daemon to its socket, and all others over the network."""

    docker: httpx.AsyncHTTPTransport
    network: httpx.AsyncHTTPTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request."""
        way = self.docker if request.url.host == "docker" else self.network
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        """Close both ways."""
        await self.docker.aclose()
        await self.network.aclose()


@dataclass
class SwarmLab:
    """A service of the node's swarm, and the registry that it pulls from."""

    node: Node
    registry_url: str
    base: bytes
    folder: Path
    settings: Settings = field(default_factory=lambda: ALONE)

    def fresh(self) -> SwarmLab:
        """Return this one, as the node has the ports only once."""
        return self

    def remove(self) -> None:
        """Leave it to the fixture."""

    def mend(self, release: Release) -> None:
        """Refuse to: an image does not change."""
        raise NotImplementedError

    def target(self, client: Retrying) -> Target:
        """Return the driver."""
        api = Api("Docker", "http://docker", client, means_conflict=is_conflict)
        service = template((ROOT / "deploy/swarm/service.yaml").read_text())
        return Swarm(self.settings, service, api, client.http)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to the daemon and its node."""
        return Plain(httpx.AsyncHTTPTransport(uds=str(self.node.socket)), httpx.AsyncHTTPTransport())

    def is_change(self, request: httpx.Request) -> bool:
        """Return whether a request changes the swarm."""
        return request.method != "GET" and request.url.host == "docker"

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Publish an image that does what a model says."""
        own = layer({"model.json": json.dumps(asdict(model or Model(tag))).encode()})
        made = archive(self.folder / f"{tag}.tar", [self.base, own], ["/service.py"], [])
        return await self.publish_archive(made, tag)

    async def publish_archive(self, made: Path, tag: str) -> Release:
        """Publish an image's archive."""
        return await publish(made, self.registry_url, f"swarm/{self.folder.name}", tag)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a layer with this machine's Python, where the project's own image has one, and the service."""
    tree = python_tree(tmp_path_factory.mktemp("python"))
    return layer({"service.py": SERVICE.read_bytes()}, {".": tree})


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Yield the swarm's node."""
    with swarm_node(tmp_path_factory.mktemp("swarm")) as node:
        yield node


@contextmanager
def run_registry(folder: Path) -> Iterator[str]:
    """Run a registry that nodes can pull from; yields its address."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("Debian's docker-registry is not installed")
    with serving_registry(program, folder, REGISTRY, REGISTRY_NAMESPACE) as address:
        yield address


@pytest.fixture(scope="module")
def registry_url(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a registry that the node can pull from."""
    with run_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def lab(node: Node, registry_url: str, base: bytes, tmp_path: Path) -> Iterator[SwarmLab]:
    """Yield a lab, and leave none of its services."""
    yield SwarmLab(node, registry_url, base, tmp_path)
    with node.client() as client:
        for service in client.get("/services").json():
            client.delete(f"/services/{service['ID']}")
        until(lambda: not client.get("/containers/json").json(), "all containers have ended", 60)


async def test_a_release_that_does_not_start_is_undone_and_says_why(lab: Lab) -> None:
    first, bad = await lab.release("v1.0.0"), await lab.release("v1.1.0", Model("v1.1.0", starts=False))
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        with pytest.raises(RolledBack, match=r"does not start: .*non-zero exit \(3\)"):
            await deployer.deploy(bad)
        assert await deployer.users(5) == {"v1.0.0": 5}


async def test_a_deployment_that_was_killed_in_the_middle_of_an_update_is_gone_on_with(lab: Lab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as deployer:
        await deployer.deploy(first)
    async with worker(lab, "the dead", UPDATE, after=True) as dead:
        with pytest.raises(Killed):
            await dead.deploy(second)
        seen = await dead.target.look()
        assert seen.journal.attempt
        assert (seen.live, seen.journal.attempt.step) == (str(second), "shift to 100 %")
    async with worker(lab, "the heir") as heir:
        assert await heir.deploy(second, takeover=True)
        assert await heir.users(5) == {"v1.1.0": 5}


def test_the_pipeline_deploys_what_it_verified_which_runs_without_any_privilege(
    lab: SwarmLab, wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    program, certificate = shutil.which("docker-registry"), tmp_path / "registry.pem"
    assert program
    certify(certificate, x509.IPAddress(ip_address(REGISTRY)))
    environment = trust(wrapper_environment, certificate, tmp_path / "trusted.pem")
    clone = clone_for_one_node(tmp_path)
    on_node = ("--environment=nodes", f"--docker=unix://{lab.node.socket}")
    with serving_registry(program, tmp_path, REGISTRY, REGISTRY_NAMESPACE, certificate) as url:
        remote = (f"--registry={url.removeprefix('https://')}/models", "--allow-stand-in")
        published = call(environment, "publish", "--tag=v1.0.0", *remote, folder=clone)
        assert published.returncode == 0, published.stderr
        release = published.stdout.strip()
        deployed = call(environment, "deploy", f"--image={release}", *on_node, folder=clone)
        assert deployed.stdout.endswith(f"live: {release}\n"), deployed.stderr
        history = call(environment, "history", *on_node, folder=clone)
        assert history.stdout.startswith(f"Swarm milestone2\n  100 % {release}\n"), history.stderr
    expect_no_privileges(lab.node)
    with httpx.Client(base_url=f"http://{NODE}:{PORT}") as http:
        features = [each["quantiles"]["0.5"] for each in http.get("/model").json()["features"]]
        predicted = http.post("/predict", json={"features": features})
        assert (predicted.status_code, predicted.json()["model_version"]) == (200, "v1.0.0")
        assert [http.get(path).status_code for path in ("/", "/docs", "/readyz")] == [200, 200, 200]


def expect_no_privileges(node: Node) -> None:
    """Hold the service's only process to user, capabilities and root file system of the stack."""

    def services() -> list[int]:
        return [pid for pid in children(node.process) if words_of(pid) == f"{INTERPRETER} -m app "]

    until(lambda: len(services()) == 1, "the candidate has ended")
    (service,) = services()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{service}/status").read_text().splitlines())
    assert (set(status["Uid"].split()), set(status["Gid"].split())) == ({"65532"}, {"65532"})
    assert {int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    mounts = [line.split() for line in Path(f"/proc/{service}/mountinfo").read_text().splitlines()]
    assert [mount[5].split(",")[0] for mount in mounts if mount[4] == "/"] == ["ro"]


def clone_for_one_node(folder: Path) -> Path:
    """Return a clone in which the environment of the swarm has one node, and is watched for seconds."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    file = clone / "deploy/environments.toml"
    before, nodes, after = file.read_text().partition("[nodes]\n")
    after = after.replace("replicas = 2", "replicas = 1", 1).replace('"start-first"', '"stop-first"', 1)
    file.write_text(f"{before}{nodes}step_seconds = 2\n{after}")
    author = ["-c", "user.name=test", "-c", "user.email=test@example.test"]
    subprocess.run(["git", *author, "commit", "-qam", "Deploy to one node"], cwd=clone, check=True)
    return clone


def call(environment: dict[str, str], *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Call a function of the pipeline, of this clone or of another one."""
    return subprocess.run(
        [str(folder / "daggerw"), "call", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

"""Connections to targets: a cluster with a token or Google's, a swarm through a relay in a container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagger
import pytest

from deploying import target_connections
from deploying.environments import Common, Environment
from deploying.target_connections import Operator, Reach
from deploying.targets import kubernetes, swarm
from errors import InvalidIdentity
from tests.ci.google_answers import identity
from tests.ci.recorder import Recorder

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
CLUSTER = Environment("p", Common(), kubernetes.Settings("https://cluster.test", "production", "m"), 1)
NODES = Environment("p", Common(), swarm.Settings("m"), 1)


@dataclass
class Files(Recorder, of=(dagger.Directory, dagger.File)):
    """The repository's files."""

    path: str = ""

    def file(self, path: str) -> Files:
        return Files(path)

    async def contents(self) -> str:
        return (ROOT / self.path).read_text()


@dataclass
class Relay(Recorder, of=(dagger.Container, dagger.Service)):
    """A container, and the service that it is."""

    running: bool = False

    async def start(self) -> Relay:
        self.running = True
        return self

    async def endpoint(self, *, port: int, scheme: str) -> str:
        return f"{scheme}://relay:{port}"

    async def stop(self) -> None:
        self.running = False


class Secret(Recorder, of=(dagger.Secret,)):
    async def plaintext(self) -> str:
        return "the-cluster-s-token\n"


def make_reach(base: Any = None, who: Any = None, **operator: Any) -> Reach:
    """Return an operator's connections to targets."""
    files: Any = Files()
    return Reach(files, base, who, Operator(**operator))


async def test_requests_to_a_cluster_have_the_given_token() -> None:
    async with make_reach(kubernetes_token=Secret()).open_target(CLUSTER) as (target, _):
        assert isinstance(target, kubernetes.Kubernetes)
        assert target.api.base == "https://cluster.test"
        assert target.api.mint
        assert (await target.api.mint()).reveal() == "the-cluster-s-token"


async def test_requests_to_a_cluster_of_google_s_have_google_s_token() -> None:
    reach = make_reach(who=identity("releaser@my-project.iam.gserviceaccount.com"))
    async with reach.open_target(CLUSTER) as (target, _):
        assert isinstance(target, kubernetes.Kubernetes)
        assert "access_token" in repr(target.api.mint)
    with pytest.raises(InvalidIdentity, match="kubernetes: Google has to know who deploys"):
        async with make_reach().open_target(CLUSTER):
            pass


async def test_requests_to_a_swarm_go_through_a_socket_that_only_the_relay_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Engine(Recorder, of=(dagger.Client,)):
        def set_secret(self, name: str, plaintext: str) -> str:
            secrets.append(plaintext)
            return name

    secrets: list[str] = []
    monkeypatch.setattr(target_connections, "dag", Engine())
    relay = Relay()
    async with make_reach(relay, docker="the-socket").open_target(NODES) as (target, _):
        assert isinstance(target, swarm.Swarm)
        assert relay.running
        assert target.api.base == "http://relay:2375"
        assert target.api.mint
        assert (await target.api.mint()).reveal() == secrets[0]
    assert not relay.running
    assert ("with_unix_socket", "/docker.sock", "the-socket") in relay.calls
    assert ("with_mounted_secret", "/run/key", "docker-key") in relay.calls
    command = ["python", "/relay.py", "/docker.sock", "2375", "/run/key"]
    assert relay.calls[-1] == ("as_service", {"args": command})


async def test_a_swarm_without_a_socket_is_refused_with_the_flag_that_gives_one() -> None:
    with pytest.raises(InvalidIdentity, match="give --docker unix:///var/run/docker.sock"):
        async with make_reach().open_target(NODES):
            pass

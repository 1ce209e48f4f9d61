"""Connections to targets: a cluster with a token or Google's, a swarm through a relay in a container."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploying import target_connections
from deploying.environments import Common, Environment
from deploying.target_connections import Operator, Reach
from deploying.targets import kubernetes, swarm
from errors import InvalidIdentity
from tests.ci.google_answers import identity

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
PATHS = (
    "deploy/kubernetes/service.yaml",
    "deploy/swarm/service.yaml",
    "ci/deploying/targets/socket_relay.py",
)
CLUSTER = Environment("p", Common(), kubernetes.Settings("https://cluster.test", "production", "m"), 1)
NODES = Environment("p", Common(), swarm.Settings("m"), 1)


@dataclass
class Files:
    """The repository."""

    texts: dict[str, str]

    def file(self, path: str) -> Any:
        text = self.texts[path]

        class File:
            async def contents(self) -> str:
                return text

        return File()


@dataclass
class Relay:
    """A container, what was done to it, and the service that it is."""

    done: list[tuple[Any, ...]] = field(default_factory=list)
    running: bool = False

    def __getattr__(self, name: str) -> Any:
        assert name.startswith("with_")

        def changed(*given: Any) -> Relay:
            self.done.append((name, *given))
            return self

        return changed

    def as_service(self, args: list[str]) -> Relay:
        self.done.append(("as_service", *args))
        return self

    async def start(self) -> Relay:
        self.running = True
        return self

    async def endpoint(self, *, port: int, scheme: str) -> str:
        return f"{scheme}://relay:{port}"

    async def stop(self) -> None:
        self.running = False


class Secret:
    async def plaintext(self) -> str:
        return "the-cluster-s-token\n"


def make_reach(base: Any = None, who: Any = None, **operator: Any) -> Reach:
    """Return an operator's connections to targets."""
    files: Any = Files({path: (ROOT / path).read_text() for path in PATHS})
    given: Any = {"by": None, "takeover": False, "docker": None, "kubernetes_token": None, **operator}
    return Reach(files, base, who, Operator(**given))


async def test_requests_to_a_cluster_have_the_given_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_reach(kubernetes_token=Secret()).open_target(CLUSTER) as (target, _):
        assert isinstance(target, kubernetes.Kubernetes)
        assert target.api.base == "https://cluster.test"
        assert target.api.mint
        assert (await target.api.mint()).reveal() == "the-cluster-s-token"


async def test_requests_to_a_cluster_of_google_s_have_google_s_token() -> None:
    async with make_reach(who=identity("releaser@my-project.iam.gserviceaccount.com")).open_target(
        CLUSTER
    ) as (
        target,
        _,
    ):
        assert isinstance(target, kubernetes.Kubernetes)
        assert "access_token" in repr(target.api.mint)
    with pytest.raises(InvalidIdentity, match="kubernetes: Google has to know who deploys"):
        async with make_reach().open_target(CLUSTER):
            pass


async def test_requests_to_a_swarm_go_through_a_socket_that_only_the_relay_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Engine:
        def set_secret(self, name: str, text: str) -> str:
            secrets.append(text)
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
    assert ("with_unix_socket", "/docker.sock", "the-socket") in relay.done
    assert ("with_mounted_secret", "/run/key", "docker-key") in relay.done
    assert relay.done[-1] == ("as_service", "python", "/relay.py", "/docker.sock", "2375", "/run/key")


async def test_a_swarm_without_a_socket_is_refused_with_the_flag_that_gives_one() -> None:
    with pytest.raises(InvalidIdentity, match="give --docker unix:///var/run/docker.sock"):
        async with make_reach().open_target(NODES):
            pass

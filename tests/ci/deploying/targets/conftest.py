"""The targets that the conformance suite is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ci.deploying.targets.labs.cloud_run_lab import CloudRunLab, cloud_run_lab
from tests.ci.deploying.targets.labs.docker_fake import Swarm
from tests.ci.deploying.targets.labs.fleet import Fleet, sailing
from tests.ci.deploying.targets.labs.kubernetes_fake import Cluster
from tests.ci.deploying.targets.labs.kubernetes_lab import KubernetesLab
from tests.ci.deploying.targets.labs.lab import Lab
from tests.ci.deploying.targets.labs.swarm_lab import SwarmLab


@pytest.fixture(scope="session")
def server() -> Iterator[Fleet]:
    """Yield the server that all services live on."""
    with sailing() as fleet:
        yield fleet


@pytest.fixture
def fleet(server: Fleet) -> Fleet:
    """Return a fleet that nothing runs in yet."""
    server.running.clear()
    server.known.clear()
    return server


@pytest.fixture
def google_lab(
    fleet: Fleet,
    start_google: Callable[..., str],
    registry_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[CloudRunLab]:
    """Yield Cloud Run."""
    monkeypatch.setattr(
        "fakecloud.identity.keys._TOKENS_PER_KEY", 10_000
    )  # new keys take longer than all the rest
    with cloud_run_lab(start_google, registry_url, fleet, tmp_path) as lab:
        yield lab


@pytest.fixture
def kubernetes_lab(fleet: Fleet) -> KubernetesLab:
    """Return Kubernetes."""
    return KubernetesLab(fleet, Cluster(fleet))


@pytest.fixture
def swarm_lab(fleet: Fleet) -> SwarmLab:
    """Return Docker Swarm."""
    return SwarmLab(fleet, Swarm(fleet))


@pytest.fixture(params=["google_lab", "kubernetes_lab", "swarm_lab"])
def lab(request: pytest.FixtureRequest) -> Lab:
    """Return a target of each kind."""
    found: Lab = request.getfixturevalue(request.param)
    return found

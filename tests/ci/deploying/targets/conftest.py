"""The targets that the conformance suite is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ci.deploying.targets.labs.cloud_run_lab import CloudRunLab, cloud_run_lab
from tests.ci.deploying.targets.labs.docker_fake import Swarm
from tests.ci.deploying.targets.labs.fleet import Fleet
from tests.ci.deploying.targets.labs.kubernetes_fake import Cluster
from tests.ci.deploying.targets.labs.kubernetes_lab import KubernetesLab
from tests.ci.deploying.targets.labs.lab import Lab
from tests.ci.deploying.targets.labs.swarm_lab import SwarmLab


@pytest.fixture
def google_lab(
    fleet: Fleet,
    start_google: Callable[..., str],
    registry_url: str,
    tmp_path: Path,
) -> Iterator[CloudRunLab]:
    """Yield Cloud Run."""
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

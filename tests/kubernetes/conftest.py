"""Cluster that this folder's tests share; only `python -m tests.kubernetes` collects them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.kubernetes.cluster.control_plane import run_control_plane
from tests.kubernetes.cluster.nodes import Cluster, run_cluster
from tests.kubernetes.lab import ClusterLab

PROGRAMS = os.environ.get("KUBERNETES_PROGRAMS")
collect_ignore_glob = [] if PROGRAMS else ["test_*.py"]


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """Yield a cluster of three nodes; its folder is open to the pods' users."""
    assert PROGRAMS
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with run_control_plane(Path(PROGRAMS), folder) as plane, run_cluster(plane, 3) as started:
            yield started


@pytest.fixture
def lab(shared_cluster: Cluster) -> Iterator[ClusterLab]:
    """Yield a namespace where nothing is deployed yet."""
    made = ClusterLab(shared_cluster).fresh()
    yield made
    made.remove()

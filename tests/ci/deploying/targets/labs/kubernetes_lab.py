"""Kubernetes as the fake has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from deploying.rollout.target import Target
from deploying.targets.api_client import Api
from deploying.targets.kubernetes import Kubernetes, Settings, conflict
from deploying.targets.manifests import Manifests
from net.retry_policy import Retrying
from net.tokens import Token
from oci.reference import Image, Release
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.deploying.targets.labs.kubernetes_fake import TOKEN, Cluster

ROOT = Path(__file__).resolve().parents[5]
MANIFESTS = ROOT / "deploy/kubernetes/service.yaml"


@dataclass
class KubernetesLab:
    """A cluster of its own."""

    fleet: Fleet
    cluster: Cluster
    margin: float = 30

    def fresh(self) -> KubernetesLab:
        """Return another cluster."""
        return replace(self, cluster=Cluster(self.fleet))

    def remove(self) -> None:
        """Leave it to the collector of garbage."""

    def target(self, client: Retrying) -> Target:
        """Return the driver."""

        async def mint() -> Token:
            return Token(TOKEN)

        manifests = Manifests.of(MANIFESTS.read_text())
        api = Api("Kubernetes", "https://cluster.test", client, mint, conflict)
        settings = Settings("https://cluster.test", "production", "milestone2")
        return Kubernetes(settings, manifests, api, pause=0, margin=self.margin)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to the cluster."""
        return httpx.MockTransport(self.cluster.answer)

    def is_change(self, request: httpx.Request) -> bool:
        """Return whether a request changes the cluster."""
        return request.method != "GET" and "/proxy/" not in request.url.path

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Return a release; the fake pulls nothing."""
        return made_up(self.fleet, tag, model)

    def mend(self, release: Release) -> None:
        """Let a release start from now on."""
        self.fleet.known[release.digest].starts = True


def made_up(fleet: Fleet, tag: str, model: Model | None) -> Release:
    """Return a release of which there is no image."""
    digest = f"sha256:{hashlib.sha256(f'{tag}{model}'.encode()).hexdigest()}"
    fleet.known[digest] = model or Model(tag)
    return Release(Image("registry.test", "models/milestone2", tag), digest)

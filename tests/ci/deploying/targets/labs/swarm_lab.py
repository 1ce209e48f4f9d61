"""Docker Swarm as the fake has it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from deploying.rollout.target import Target
from deploying.targets.api_client import Api
from deploying.targets.swarm import Settings, Swarm, is_conflict, template
from net.retry_policy import Retrying
from oci.reference import Release
from tests.ci.deploying.targets.labs.docker_fake import Swarm as Fake
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.deploying.targets.labs.kubernetes_lab import made_up

ROOT = Path(__file__).resolve().parents[5]
SERVICE = ROOT / "deploy/swarm/service.yaml"


@dataclass
class SwarmLab:
    """A swarm of its own."""

    fleet: Fleet
    swarm: Fake
    settings: Settings = field(default_factory=lambda: Settings("milestone2", replicas=2))

    def fresh(self) -> SwarmLab:
        """Return another swarm."""
        return replace(self, swarm=Fake(self.fleet))

    def remove(self) -> None:
        """Leave it to the collector of garbage."""

    def target(self, client: Retrying) -> Target:
        """Return the driver."""
        api = Api("Docker", "http://docker", client, means_conflict=is_conflict)
        return Swarm(self.settings, template(SERVICE.read_text()), api, client.http, pause=0)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to the daemon and its node."""
        return httpx.MockTransport(self.swarm.answer)

    def is_change(self, request: httpx.Request) -> bool:
        """Return whether a request changes the swarm."""
        return request.method != "GET" and request.url.host == "docker"

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Return a release; the fake pulls nothing."""
        return made_up(self.fleet, tag, model)

    def mend(self, release: Release) -> None:
        """Let a release start from now on."""
        self.fleet.known[release.digest].starts = True

"""Docker Swarm as the fake has it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from reference import Release
from retrying import Retrying
from targets.api import Api
from targets.port import Target
from targets.swarm import Settings, Swarm, changed, template
from tests.ci.targets.docker_fake import Swarm as Fake
from tests.ci.targets.fleet import Fleet, Model
from tests.ci.targets.kubernetes_lab import made_up

ROOT = Path(__file__).resolve().parents[3]
SERVICE = ROOT / "deploy/swarm/service.yaml"


@dataclass
class SwarmLab:
    """A swarm of its own."""

    fleet: Fleet
    swarm: Fake

    def fresh(self) -> SwarmLab:
        """Return another swarm."""
        return replace(self, swarm=Fake(self.fleet))

    def target(self, client: Retrying) -> Target:
        """Return the driver."""
        api = Api("Docker", "http://docker", client, changed=changed)
        return Swarm(
            Settings("milestone2", replicas=2), template(SERVICE.read_text()), api, client.http, pause=0
        )

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to the daemon and its node."""
        return httpx.MockTransport(self.swarm.answer)

    def changing(self, request: httpx.Request) -> bool:
        """Return whether a request changes the swarm."""
        return request.method != "GET" and request.url.host == "docker"

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Return a release; the fake pulls nothing."""
        return made_up(self.fleet, tag, model)

"""Operations on a swarm whose registry is not there: what is deployed is made up, and judged all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deploying.alerts import Alertmanager
from deploying.environments import Environment, Environments
from deploying.operations import Operations
from deploying.rollout.target import Target
from deploying.target_connections import Operator, Reach
from net.retry_policy import Retrying
from net.step_log import Steps
from oci.reference import Image, Release
from releasing.registry_access import RegistryAccess
from releasing.verify import Verified
from tests.ci.connections import no_wait
from tests.ci.deploying.targets.labs.docker_fake import Swarm
from tests.ci.deploying.targets.labs.fleet import GOLDEN, Fleet
from tests.ci.deploying.targets.labs.swarm_lab import SwarmLab
from tests.ci.sigstore_lab import UNSIGNED

ENVIRONMENTS = '[production]\ntarget = "swarm"\nname = "milestone2"\nstep_seconds = 0\n'
ENVIRONMENTS += "limits = {requests = 6, p95_seconds = 60}\n"  # whatever else the machine does


@dataclass(frozen=True)
class LabReach(Reach):
    """Reaches a lab."""

    lab: SwarmLab

    @asynccontextmanager
    async def open_target(self, environment: Environment) -> AsyncIterator[tuple[Target, Retrying]]:
        """Open the lab's target."""
        async with httpx.AsyncClient(transport=self.lab.transport(), timeout=60) as http:
            client = Retrying(http, sleep=no_wait)
            yield self.lab.target(client), client


class NoAccess(RegistryAccess):
    """Access to no registry."""

    @asynccontextmanager
    async def open(self, image: Image) -> AsyncIterator[Any]:
        """Open nothing."""
        yield None


def operations(
    fleet: Fleet, alertmanager: Alertmanager | None, printed: list[str], patched: pytest.MonkeyPatch
) -> tuple[Operations, SwarmLab]:
    """Return the operations of an operator with Alertmanager, and the swarm."""

    async def version(_: object, release: Release) -> str:
        return release.image.tag

    async def verify(*_: object) -> Verified:
        return Verified("", b"")

    def golden(*_: object) -> object:
        return GOLDEN

    for name, stand_in in (("version", version), ("verify_release", verify), ("golden", golden)):
        patched.setattr(f"deploying.operations.{name}", stand_in)
    nothing: Any = None
    lab = SwarmLab(fleet, Swarm(fleet))
    who = Operator(by="tester", alertmanager=alertmanager)
    reach = LabReach(nothing, nothing, None, who, lab)
    environments = Environments.of(ENVIRONMENTS)
    access, steps = NoAccess(None, nothing), Steps(printed.append)
    return Operations("milestone2", environments, access, reach, steps, UNSIGNED), lab

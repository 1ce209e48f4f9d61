"""A target to try things on: a driver, what it talks to, and what the releases do there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from deploying.rollout.deployment import Deployment
from deploying.rollout.judge import Judge, Judging
from deploying.rollout.target import Target
from deploying.rollout.verdict import Limits
from net.retry_policy import Retrying
from net.step_log import Steps
from oci.reference import Release
from tests.ci.connections import no_wait
from tests.ci.deploying.targets.labs.fleet import GOLDEN, Model

LIMITS = Limits(requests=6, p95_seconds=60)  # whatever else the machine does


class Killed(BaseException):
    """The end of a process that is killed: nothing that it would do next is done."""


@dataclass
class Mortal(httpx.AsyncBaseTransport):
    """Carries requests until the n-th that changes something: dies before it is sent, or after its answer."""

    inner: httpx.AsyncBaseTransport
    is_change: Callable[[httpx.Request], bool]
    number: int = 0
    after: bool = False
    changes: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request, or die."""
        if not self.is_change(request):
            return await self.inner.handle_async_request(request)
        self.changes.append(f"{request.method} {request.url.path}")
        dies = len(self.changes) == self.number
        if dies and not self.after:
            raise Killed
        answer = await self.inner.handle_async_request(request)
        if dies:
            raise Killed
        return answer

    async def aclose(self) -> None:
        """Close."""
        await self.inner.aclose()


class Lab(Protocol):
    """A target to try a driver on."""

    def fresh(self) -> Lab:
        """Return one where nothing is deployed yet; the releases are those of this one."""

    def target(self, client: Retrying) -> Target:
        """Return the driver, talking through a client."""

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to it."""

    def is_change(self, request: httpx.Request) -> bool:
        """Return whether a request changes the target."""

    def release(self, tag: str, model: Model | None = None) -> Awaitable[Release]:
        """Return a release that can be deployed there, and does what a model says."""

    def mend(self, release: Release) -> None:
        """Let a release start from now on."""

    def remove(self) -> None:
        """Remove what runs there, when nothing is tried on it any more."""


@dataclass
class Worker:
    """An operator who deploys, with the printed lines and the changes."""

    target: Target
    deployment: Deployment
    judge: Judging
    client: Retrying
    mortal: Mortal
    printed: list[str]

    async def deploy(self, release: Release, *, takeover: bool = False) -> bool:
        """Deploy a release."""
        return await self.deployment.deploy(release, self.judge, takeover=takeover)

    async def rollback(self, version: str | None = None, *, takeover: bool = False) -> str:
        """Roll back."""
        return await self.deployment.rollback(version, takeover=takeover)

    async def users(self, times: int) -> dict[str, int]:
        """Ask the service as its users do, and return how often which version, or which status, answered."""
        seen, counted = await self.target.look(), Counter[str]()
        assert seen.address
        for _ in range(times):
            answer = await self.client.http.post(
                f"{seen.address.url}/predict", json={"features": [1]}, headers=await seen.address.headers()
            )
            counted[answer.json()["model_version"] if answer.is_success else str(answer.status_code)] += 1
        return dict(counted)


class Lenient:
    """A judge to whom everything is fit, and who takes no time."""

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Let it pass."""


@asynccontextmanager
async def worker(
    lab: Lab,
    owner: str = "tester",
    number: int = 0,
    *,
    after: bool = False,
    lease: float = 900,
    judged: bool = True,
    limits: Limits = LIMITS,
) -> AsyncIterator[Worker]:
    """Yield an operator, who dies at a change when it has a number."""
    mortal = Mortal(lab.transport(), lab.is_change, number, after)
    async with httpx.AsyncClient(transport=mortal, timeout=10) as http:
        client = Retrying(http, sleep=no_wait)
        printed: list[str] = []
        judge = Judge(GOLDEN, http, printed.append, seconds=0, limits=limits) if judged else Lenient()
        target = lab.target(client)
        yield Worker(
            target, Deployment(target, owner, Steps(printed.append), lease), judge, client, mortal, printed
        )

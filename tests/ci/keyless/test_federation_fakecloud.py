"""Our client against the strict fake cloud: faults that it survives, its errors, and doctor's findings."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from errors import GoogleError, NotReady
from fakecloud.state.fixtures import Binding, World, usual_world
from keyless.doctor import CheckResult, Doctor, report
from keyless.federation import Federation
from keyless.google_identity import Identity
from net.retry_policy import Retrying
from net.tokens import Token
from tests.ci.connections import job_identity, no_wait

pytestmark = pytest.mark.anyio
REQUEST_TOKEN = "the-request-token"
REGISTRY = "us-central1-docker.pkg.dev/rehearsal-project/models"
Start = Callable[..., str]


@asynccontextmanager
async def client(fault: str = "") -> AsyncIterator[Retrying]:
    """Open a client that doesn't wait between attempts; a short timeout is only for a fault that is one."""
    async with httpx.AsyncClient(timeout=0.5 if "timeout" in fault else 60) as http:
        yield Retrying(http, sleep=no_wait)


async def mint(identity: Identity, fault: str = "") -> tuple[Token, int]:
    """Return an access token and how many requests it took."""
    sent: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        sent.append(request)

    async with client(fault) as retrying:
        retrying.http.event_hooks = {"request": [note]}
        return await Federation(identity, retrying).access_token(), len(sent)


async def findings(identity: Identity, registry: str = REGISTRY, fault: str = "") -> dict[str, CheckResult]:
    async with client(fault) as retrying:
        doctor = Doctor(identity, registry, retrying)
        return {finding.check: finding for finding in await doctor.examine()}


def first_line(text: str) -> str:
    """Return the first line of a text, times and ports aside."""
    return re.sub(r"\d+", "#", text.partition("\n")[0])


@pytest.mark.parametrize(
    "fault", ["oidc:503", "oidc:reset", "sts:503x2", "sts:429", "iam:timeout", "iam:reset"]
)
async def test_what_passes_is_survived(start_google: Start, world: World, fault: str) -> None:
    _, sent = await mint(job_identity(start_google(world, fault), world, world.service_account), fault)
    injected = int(fault.partition("x")[2] or 1)
    # On a busy machine a timeout's other requests may be late too; the service's count is exact otherwise.
    assert sent >= 3 + injected if "timeout" in fault else sent == 3 + injected


@pytest.mark.parametrize(
    ("fault", "explanation"),
    [
        (
            "oidc:401",
            r"identity: 127.0.0.1 answered 401 .*\n  cause: the CI system did not take the request token",
        ),
        ("sts:503x99", r"sts: exchanging .* answered 503 (.*\n)*  cause: 127.0.0.1 is down"),
        ("clock:+600s", r"stale to sign-in\.\n  this machine's clock is \d+ s ahead of that of 127"),
    ],
)
async def test_what_does_not_pass_is_explained_as_doctor_explains_it(
    start_google: Start, world: World, fault: str, explanation: str
) -> None:
    with pytest.raises(GoogleError, match=explanation) as caught:
        await mint(job_identity(start_google(world, fault), world, world.service_account), fault)
    found = await findings(
        job_identity(start_google(world, fault), world, world.service_account), fault=fault
    )
    bad = [first_line(finding.came) for finding in found.values() if finding.good is False]
    assert first_line(str(caught.value)) in bad
    with pytest.raises(NotReady, match="a release would fail: "):
        report(list(found.values()))


def unbind(world: World, role: str) -> World:
    """Return a world without the bindings of a role."""
    kept: tuple[Binding, ...] = tuple(each for each in world.bindings if each.role != role)
    return replace(world, bindings=kept)


USUAL = usual_world(REQUEST_TOKEN)
WORLDS: dict[str, tuple[World, str, str, str]] = {
    "unbound": (
        unbind(USUAL, "roles/iam.workloadIdentityUser"),
        "impersonation",
        "iam.serviceAccounts.getAccessToken",
        'attribute.repository_id/2002"',
    ),
    "reader": (
        unbind(USUAL, "roles/artifactregistry.writer"),
        "permissions",
        "artifactregistry.repositories.uploadArtifacts",
        "--role=roles/artifactregistry.writer",
    ),
    "mutable": (
        replace(USUAL, repository=replace(USUAL.repository, immutable_tags=False)),
        "immutable tags",
        "lets tags move",
        "--immutable-tags",
    ),
}


@pytest.mark.parametrize(("world", "check", "came", "fix"), WORLDS.values(), ids=WORLDS)
async def test_doctor_finds_what_is_set_up_wrongly(
    start_google: Start, world: World, check: str, came: str, fix: str
) -> None:
    found = (await findings(job_identity(start_google(world), world, world.service_account)))[check]
    assert found.good is False
    assert came in found.came
    assert fix in found.came.partition("\n  fix: ")[2]


@pytest.mark.parametrize("direct", [True, False])
async def test_doctor_finds_nothing_where_all_is_well(google: str, world: World, direct: bool) -> None:
    text = report(
        list(
            (await findings(job_identity(google, world, None if direct else world.service_account))).values()
        )
    )
    assert text.endswith("a release would work")

"""Our client against the strict fake cloud: faults that it survives, its errors, and doctor's findings."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from errors import GoogleError, NotReady
from fakecloud.state.fixtures import CloudSetup
from keyless.doctor import CheckResult, Doctor, report
from keyless.federation import Federation
from keyless.google_identity import Identity
from net.retry_policy import Retrying
from tests.ci.connections import job_identity, no_wait

pytestmark = pytest.mark.anyio
REQUEST_TOKEN = "the-request-token"
REGISTRY = "us-central1-docker.pkg.dev/rehearsal-project/models"
Start = Callable[..., str]


@asynccontextmanager
async def client() -> AsyncIterator[Retrying]:
    """Open a client that doesn't wait between attempts."""
    async with httpx.AsyncClient(timeout=60) as http:
        yield Retrying(http, sleep=no_wait)


async def findings(identity: Identity, registry: str = REGISTRY) -> dict[str, CheckResult]:
    async with client() as retrying:
        doctor = Doctor(identity, registry, retrying)
        return {finding.check: finding for finding in await doctor.examine()}


def first_line(text: str) -> str:
    """Return the first line of a text, times and ports aside."""
    return re.sub(r"\d+", "#", text.partition("\n")[0])


async def test_what_passes_is_survived(start_google: Start, setup: CloudSetup) -> None:
    faults = ("oidc:503", "oidc:reset", "sts:503x2", "sts:429", "iam:reset")
    sent: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        sent.append(request)

    async with client() as retrying:
        retrying.http.event_hooks = {"request": [note]}
        identity = job_identity(start_google(setup, *faults), setup, setup.service_account)
        assert await Federation(identity, retrying).access_token()
    assert len(sent) == 3 + 6  # those of a mint, and one again for each fault


@pytest.mark.parametrize(
    ("fault", "explanation"),
    [
        (
            "oidc:401",
            r"identity: 127.0.0.1 answered 401 .*\n  cause: the CI system did not take the request token",
        ),
        ("clock:+600s", r"stale to sign-in\.\n  this machine's clock is \d+ s ahead of that of 127"),
    ],
)
async def test_what_does_not_pass_is_explained_as_doctor_explains_it(
    start_google: Start, setup: CloudSetup, fault: str, explanation: str
) -> None:
    identity = job_identity(start_google(setup, fault), setup, setup.service_account)
    async with client() as retrying:
        with pytest.raises(GoogleError, match=explanation) as caught:
            await Federation(identity, retrying).access_token()
    identity = job_identity(start_google(setup, fault), setup, setup.service_account)
    found = await findings(identity)
    bad = [first_line(finding.came) for finding in found.values() if finding.good is False]
    assert first_line(str(caught.value)) in bad
    with pytest.raises(NotReady, match="a release would fail: "):
        report(list(found.values()))


async def test_doctor_finds_what_is_set_up_wrongly(start_google: Start, setup: CloudSetup) -> None:
    kept = tuple(each for each in setup.bindings if each.role != "roles/artifactregistry.writer")
    base = start_google(replace(setup, bindings=kept))
    found = (await findings(job_identity(base, setup, setup.service_account)))["permissions"]
    assert found.good is False
    assert "artifactregistry.repositories.uploadArtifacts" in found.came
    assert "--role=roles/artifactregistry.writer" in found.came.partition("\n  fix: ")[2]


@pytest.mark.parametrize("direct", [True, False])
async def test_doctor_finds_nothing_where_all_is_well(google: str, setup: CloudSetup, direct: bool) -> None:
    text = report(
        list(
            (await findings(job_identity(google, setup, None if direct else setup.service_account))).values()
        )
    )
    assert text.endswith("a release would work")

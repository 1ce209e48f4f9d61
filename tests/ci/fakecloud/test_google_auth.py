"""Google's own libraries, unmodified, against the fake cloud: they succeed and fail as our client does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import google.auth.transport.requests
import httpx
import pytest
import requests
from google.auth import identity_pool
from google.auth.credentials import Credentials
from google.auth.exceptions import OAuthError, RefreshError
from googleapiclient.discovery import build

from errors import PipelineError
from fakecloud import addresses
from fakecloud.state.fixtures import CloudSetup, Job
from fakecloud.state.policy import CLOUD_PLATFORM
from keyless.federation import Federation
from net.retry_policy import Retrying
from tests.ci.connections import job_identity
from tests.ci.releaser import IMAGE, Releaser

pytestmark = pytest.mark.anyio

DENIED = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."


def credentials(releaser: Releaser, account: str | None = None) -> Credentials:
    """Return google-auth's credentials, from a configuration as gcloud writes it."""
    base, setup = str(releaser.http.base_url), releaser.setup
    url = addresses.request_url(base)
    configuration: dict[str, Any] = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{setup.provider.resource}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{base}/sts/v1/token",
        "credential_source": {
            "url": f"{url}&audience=https://iam.googleapis.com/{setup.provider.resource}",
            "headers": {"Authorization": f"Bearer {setup.request_token}"},
            "format": {"type": "json", "subject_token_field_name": "value"},
        },
    }
    if account:
        place = f"{base}/iamcredentials/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        configuration["service_account_impersonation_url"] = place
    return identity_pool.Credentials.from_info(configuration, scopes=[CLOUD_PLATFORM])  # type: ignore[no-untyped-call, no-any-return]


def refresh(found: Credentials) -> str:
    """Have google-auth get a token."""
    with requests.Session() as session:
        found.refresh(google.auth.transport.requests.Request(session))  # type: ignore[no-untyped-call]
    return str(found.token)


async def ours(releaser: Releaser, account: str | None = None) -> str:
    """Have our own client get a token."""
    identity = job_identity(str(releaser.http.base_url), releaser.setup, account)
    async with httpx.AsyncClient(timeout=60) as http:
        token = await Federation(identity, Retrying(http, attempts=1)).access_token()
    return token.authorization().removeprefix("Bearer ")


@pytest.mark.parametrize("impersonated", [False, True], ids=["direct", "impersonated"])
async def test_a_token_is_minted_that_may_push(releaser: Releaser, impersonated: bool) -> None:
    account = releaser.setup.service_account if impersonated else None
    for token in (refresh(credentials(releaser, account)), await ours(releaser, account)):
        scope = f"repository:{IMAGE}:pull,push"
        assert releaser.registry_token(token, scope).status_code == 200


Change = Callable[[CloudSetup], CloudSetup]
REFUSALS: dict[str, tuple[Change, str]] = {
    "condition": (
        lambda setup: replace(setup, job=Job(ref="refs/heads/main", ref_type="branch")),
        "The given credential is rejected by the attribute condition.",
    ),
    "disabled provider": (
        lambda setup: replace(setup, provider=replace(setup.provider, enabled=False)),
        'The target service indicated by the "audience" parameters is invalid.',
    ),
    "issuer": (
        lambda setup: replace(setup, issuer="https://github.example.com"),
        "The issuer in ID Token https://github.example.com does not match the expected one in config",
    ),
    "missing binding": (lambda setup: replace(setup, bindings=()), DENIED),
}


@pytest.mark.parametrize(("change", "message"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused_to_one_is_refused_to_both(
    release_in: Callable[..., Releaser], setup: CloudSetup, change: Change, message: str
) -> None:
    releaser = release_in(change(setup))
    with pytest.raises((OAuthError, RefreshError)) as theirs:
        refresh(credentials(releaser, setup.service_account))
    with pytest.raises(PipelineError) as our:
        await ours(releaser, setup.service_account)
    assert message in " ".join(theirs.value.args).replace('\\"', '"')
    assert message in str(our.value)


async def test_a_clock_that_is_ahead_is_stale_to_both(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    releaser = release_in(setup, "clock:+90s")
    with pytest.raises(OAuthError, match="is stale to sign-in"):
        refresh(credentials(releaser))
    with pytest.raises(PipelineError, match="is stale to sign-in"):
        await ours(releaser)


def test_requests_that_google_s_client_builds_from_its_descriptions_are_answered(releaser: Releaser) -> None:
    place = {"api_endpoint": f"{releaser.http.base_url}/artifactregistry/"}
    found = credentials(releaser, releaser.setup.service_account)
    options = {"credentials": found, "client_options": place, "static_discovery": True}
    with build("artifactregistry", "v1", **options) as service:
        repositories, name = service.projects().locations().repositories(), releaser.setup.repository.resource
        assert repositories.get(name=name).execute()["dockerConfig"]["immutableTags"]
        wanted = {"permissions": ["artifactregistry.repositories.uploadArtifacts"]}
        assert repositories.testIamPermissions(resource=name, body=wanted).execute() == wanted

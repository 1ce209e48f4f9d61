"""Minting of tokens: requests, refusals, and that no token ever shows."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import dagger
import httpx
import pytest

from conditions.attribute_condition import Condition
from errors import (
    ExchangeRefused,
    GoogleError,
    IdentityError,
    ImpersonationRefused,
    InvalidIdentity,
)
from keyless.federation import Federation
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from tests.ci.google_answers import (
    ACCOUNT,
    AUDIENCE,
    CLAIMS,
    PROVIDER,
    SECRETS,
    api_error,
    jwt,
    sts_error,
    success,
    well,
)
from tests.ci.recorder import Recorder

pytestmark = pytest.mark.anyio

DENIED = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
CONDITION = str(Condition.of("123", "45"))


class Text(Recorder, of=(dagger.Secret, dagger.File)):
    """A secret or file of Dagger's."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def plaintext(self) -> str:
        return self.text

    async def contents(self) -> str:
        return self.text


def github(**claims: object) -> httpx.Response:
    return httpx.Response(200, json={"value": jwt(**claims)})


def date(**ahead: float) -> dict[str, str]:
    return {"Date": format_datetime(datetime.now(UTC) + timedelta(**ahead), usegmt=True)}


async def test_direct_federation_sends_two_requests_as_google_describes() -> None:
    google = well()
    token = await google.federation().access_token()
    assert token.reveal() == "ya29.federated"
    assert google.called == ["sts.token"]
    assert len(google.requests) == 2
    assert json.loads(google.requests[1].content) == {
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": f"//iam.googleapis.com/{PROVIDER}",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
        "subjectToken": jwt(),
    }
    assert "Authorization" not in google.requests[1].headers


async def test_impersonation_sends_three_requests_as_google_describes() -> None:
    google = well()
    token = await google.federation(ACCOUNT).access_token()
    assert token.reveal() == "ya29.impersonated"
    assert google.called == ["sts.token", "iamcredentials.projects.serviceAccounts.generateAccessToken"]
    assert len(google.requests) == 3
    assert google.requests[2].headers["Authorization"] == "Bearer ya29.federated"
    assert f"/serviceAccounts/{ACCOUNT}:" in google.requests[2].url.path


async def test_a_token_is_minted_once_while_it_lasts() -> None:
    google = well()
    federation = google.federation(ACCOUNT)
    assert await federation.access_token() is await federation.access_token()
    assert len(google.requests) == 3


async def test_a_token_is_minted_anew_when_less_than_a_minute_is_left() -> None:
    body = success("sts").json() | {"expires_in": 50}
    google = well(sts=httpx.Response(200, json=body))
    federation = google.federation()
    await federation.access_token()
    await federation.access_token()
    assert google.called == ["sts.token"] * 2


async def test_how_long_a_token_lasts_is_read_by_google_s_clock_not_by_ours() -> None:
    body = {"accessToken": "ya29.impersonated", "expireTime": "2020-01-01T01:00:00Z"}
    google = well(iam=httpx.Response(200, json=body, headers={"Date": "Wed, 01 Jan 2020 00:00:00 GMT"}))
    federation = google.federation(ACCOUNT)
    assert await federation.access_token() is await federation.access_token()


async def test_an_id_token_names_the_service_account_to_a_service() -> None:
    google = well()
    token = await google.federation(ACCOUNT).id_token("https://service.test")
    assert token.claims()["aud"] == "https://service.test"
    assert google.called[-1] == "iamcredentials.projects.serviceAccounts.generateIdToken"
    assert json.loads(google.requests[-1].content) == {
        "audience": "https://service.test",
        "includeEmail": True,
    }


async def test_an_id_token_needs_a_service_account() -> None:
    with pytest.raises(
        InvalidIdentity, match="generateIdToken is of a service account; give --service-account"
    ):
        await well().federation().id_token("https://service.test")


async def test_no_identity_says_what_a_job_lacks() -> None:
    with pytest.raises(
        IdentityError, match=r"no identity is given.*\n  cause: GitHub gives.*\n  fix: write in the job"
    ):
        await well().federation(given=Given()).access_token()


@pytest.mark.parametrize(
    ("code", "message", "explanations"),
    [
        ("invalid_target", "The target service …", ["providers describe github --location=global"]),
        ("invalid_request", 'Invalid value for "audience".', ["providers list --location=global"]),
        (
            "invalid_grant",
            "The audience in ID Token [a] does not match.",
            [f"--allowed-audiences={AUDIENCE}", f"claims: aud='{AUDIENCE}'", f"the audience {AUDIENCE}, or"],
        ),
        (
            "invalid_grant",
            "The issuer in ID Token a does not match.",
            [f"--issuer-uri={CLAIMS['iss']}", "  claims: iss='https://tok"],
        ),
        (
            "invalid_grant",
            "Error connecting to the given credential's issuer.",
            ["--jwk-json-path=jwks.json"],
        ),
        (
            "invalid_grant",
            "ID Token issued at 1 is stale to sign-in.",
            ["iat=1795489200, nbf=1795488600, exp="],
        ),
        ("invalid_grant", "Unable to verify the ID Token signature.", ["publishes, or the JWKS"]),
    ],
)
async def test_an_exchange_that_is_refused_is_explained(
    code: str, message: str, explanations: list[str]
) -> None:
    with pytest.raises(ExchangeRefused) as caught:
        await well(sts=sts_error(code, message)).federation().access_token()
    error = str(caught.value)
    start = f"sts: exchanging the identity at //iam.googleapis.com/{PROVIDER} answered 400 Bad Request: "
    assert error.startswith(f"{start}{code}: {message}\n")
    assert all(explanation in error for explanation in [*explanations, "\n  fix: "])


@pytest.mark.parametrize(
    ("claims", "explanation"),
    [
        ({"ref_type": "branch"}, "condition: assertion.ref_type=='tag' fails on 'branch'\n"),
        ({"runner_environment": None}, "assertion.runner_environment=='github-hosted' fails on None\n"),
        ({"event_name": "schedule"}, "condition: assertion.event_name=='push' fails on 'schedule'\n"),
        (
            {"workflow_ref": "acme/model/x.yml"},
            "milestone2-ci.yml@refs/tags/v') fails on 'acme/model/x.yml'\n",
        ),
        ({}, "condition: nothing but its repository or owner id can be what fails\n"),
        ({}, f'--attribute-condition="{CONDITION}"'),
        ({"repository_id": None}, "condition: the token names no repository by number, as GitHub's do\n"),
    ],
)
async def test_a_false_condition_is_reported_clause_by_clause(
    claims: dict[str, object], explanation: str
) -> None:
    rejected = sts_error(
        "unauthorized_client", "The given credential is rejected by the attribute condition."
    )
    with pytest.raises(ExchangeRefused) as caught:
        await well(github=github(**claims), sts=rejected).federation().access_token()
    assert explanation in str(caught.value)


async def test_a_missing_binding_is_reported_with_the_command_that_binds() -> None:
    with pytest.raises(ImpersonationRefused) as caught:
        await well(iam=api_error(403, "PERMISSION_DENIED", DENIED)).federation(ACCOUNT).access_token()
    error = str(caught.value)
    assert (
        f"iam: generateAccessToken of {ACCOUNT} answered 403 Forbidden: PERMISSION_DENIED: {DENIED}" in error
    )
    assert (
        f"add-iam-policy-binding {ACCOUNT} --role=roles/iam.workloadIdentityUser "
        '--member="principalSet://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/'
        'releases/attribute.repository_id/123"'
    ) in error


async def test_an_unknown_service_account_is_recognised_by_an_empty_answer() -> None:
    with pytest.raises(
        ImpersonationRefused, match=r"404 Not Found with an empty body\n(.*\n)*  cause: there is no"
    ):
        await well(iam=httpx.Response(404)).federation(ACCOUNT).access_token()


@pytest.mark.parametrize("account", [None, ACCOUNT])
async def test_clocks_that_differ_are_named(account: str | None) -> None:
    stale = sts_error("invalid_grant", "ID Token issued at 1 is stale to sign-in.")
    stale.headers.update(date(seconds=600))
    with pytest.raises(
        ExchangeRefused, match=r"\n  this machine's clock is \d+ s behind that of sts.googleapis.com\n"
    ):
        await well(sts=stale).federation(account).access_token()


@pytest.mark.parametrize(
    "broken", [{}, {"access_token": 1}, {"access_token": "x"}, {"access_token": "x", "expires_in": "1"}]
)
async def test_an_exchange_s_answer_that_is_no_token_is_refused(broken: dict[str, object]) -> None:
    google = well(sts=httpx.Response(200, json=broken))
    google.strict = False
    with pytest.raises(ExchangeRefused, match="without a text 'access_token'|which is no number of seconds"):
        await google.federation().access_token()


@pytest.mark.parametrize("time", ["soon", "2026-11-24T03:00:00", ""])
async def test_an_impersonation_s_answer_that_is_no_token_is_refused(time: str) -> None:
    body = {"accessToken": "ya29.impersonated", "expireTime": time}
    with pytest.raises(ImpersonationRefused, match="which is no date with a zone"):
        await well(iam=httpx.Response(200, json=body)).federation(ACCOUNT).access_token()
    with pytest.raises(ImpersonationRefused, match="without a text 'accessToken'"):
        await well(iam=httpx.Response(200, json={})).federation(ACCOUNT).access_token()


async def outcome(federation: Federation) -> str:
    """Return the traceback, variables included, that minting ends with, or nothing."""
    try:
        await federation.access_token()
    except GoogleError as error:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        return f"{error.__context__ or ''}" + "".join(trace.format())
    return ""


FAILURES: list[dict[str, httpx.Response | httpx.TransportError]] = [
    {"github": httpx.Response(401, text="github-request-token")},
    {"github": httpx.ReadError("reset")},
    {"sts": sts_error("invalid_grant", f"bad token {jwt()}")},
    {"sts": httpx.ReadTimeout("")},
    {"iam": api_error(403, "PERMISSION_DENIED", "not for ya29.federated")},
    {"iam": httpx.ConnectError("refused")},
    {"iam": httpx.Response(200, json={"accessToken": "ya29.impersonated"})},
]


@pytest.mark.parametrize("changed", [{}, *FAILURES], ids=str)
async def test_no_token_shows_in_errors_tracebacks_or_the_loudest_log(
    changed: dict[str, httpx.Response | httpx.TransportError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = await outcome(well(**changed).federation(ACCOUNT))
    assert bool(changed) == bool(shown)
    for secret in (*SECRETS, jwt()):
        for text in (secret, base64.b64encode(secret.encode()).decode().rstrip("=")):
            assert text not in shown
            assert text not in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PROVIDER.replace("123456", "my-app"),
            "(?s)'my-app' is no project number.*gcloud projects describe my-app",
        ),
        ("projects/12/locations/global/workloadIdentityPools/pool", "it is a pool; add /providers/PROVIDER"),
        (f"https://iam.googleapis.com/{PROVIDER}", "`dagger call setup-google` prints it"),
        (f"{PROVIDER}/", "`dagger call setup-google` prints it"),
        ("", "is no workload identity provider, which is projects/NUMBER/locations/global/work"),
    ],
)
def test_a_provider_s_name_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidIdentity, match=message):
        Provider.of(text)


async def test_an_identity_is_made_of_the_arguments_that_every_function_takes() -> None:
    url, token, file = Text("https://github.test/oidc\n"), Text("t\n"), Text('sts = "http://g:1"')
    identity = await Identity.of(PROVIDER, ACCOUNT, url, token, file)
    assert (identity.provider.audience, identity.service_account) == (AUDIENCE, ACCOUNT)
    assert identity.given.url == "https://github.test/oidc"
    assert identity.given.token
    assert identity.given.token.reveal() == "t"
    assert identity.endpoints.sts == "http://g:1"
    assert (await Identity.of(PROVIDER)).given == Given()


@pytest.mark.parametrize(
    "account", ["releaser", "a@b.test", "a/b@p.iam.gserviceaccount.com", "A@p.iam.gserviceaccount.com"]
)
async def test_an_identity_with_an_account_that_is_none_is_refused(account: str) -> None:
    with pytest.raises(InvalidIdentity, match=r"is no address such as NAME@PROJECT\.iam"):
        await Identity.of(PROVIDER, account)


@pytest.mark.parametrize(
    "account", [ACCOUNT, "123-compute@developer.gserviceaccount.com", "p@appspot.gserviceaccount.com"]
)
async def test_an_identity_takes_every_kind_of_service_account(account: str) -> None:
    assert (await Identity.of(PROVIDER, account)).service_account == account

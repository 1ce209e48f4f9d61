"""Sources of identity tokens: absent is None, present but broken raises."""

from __future__ import annotations

import httpx
import pytest

from errors import IdentityError
from keyless.oidc_sources import Given, buildkite, github, identity_token, take_given_token
from net.tokens import Token
from tests.ci.google_answers import AUDIENCE, GITHUB, Google, jwt

pytestmark = pytest.mark.anyio
BUILDKITE = "https://agent.buildkite.test/v3/jobs/0190-ab/oidc/tokens"
TICKET = Token("request-token")
GITLAB = jwt(
    iss="https://gitlab.com", sub="project_path:acme/model:ref_type:tag:ref:v1", project_path="acme/model"
)
CIRCLECI = jwt(iss="https://oidc.circleci.com/org/1", sub="org/1/project/2/user/3", aud="1")
KUBERNETES = jwt(
    iss="https://kubernetes.default.svc", sub="system:serviceaccount:ci:releaser", aud=[AUDIENCE]
)


def issue(answer: httpx.Response) -> Google:
    """Return CI systems with given responses."""
    return Google(dict.fromkeys(("github.test", "agent.buildkite.test"), answer))


async def test_a_request_to_github_has_the_audience_and_the_job_s_own_token() -> None:
    google = issue(httpx.Response(200, json={"count": 1, "value": jwt()}))
    token = await identity_token(Given(GITHUB, TICKET), AUDIENCE, google.client())
    assert token
    assert token.reveal() == jwt()
    (request,) = google.requests
    assert (request.method, request.headers["Authorization"]) == ("GET", "Bearer request-token")
    assert dict(request.url.params) == {"api-version": "2.0", "audience": AUDIENCE}


async def test_a_request_to_buildkite_s_agent_api_is_as_its_agent_sends_it() -> None:
    google = issue(httpx.Response(200, json={"token": jwt()}))
    token = await identity_token(Given(BUILDKITE, TICKET), AUDIENCE, google.client())
    assert token
    assert token.reveal() == jwt()
    (request,) = google.requests
    assert (request.method, request.headers["Authorization"]) == ("POST", "Token request-token")
    assert request.content == f'{{"audience":"{AUDIENCE}"}}'.encode()


@pytest.mark.parametrize(
    "text", [GITLAB, CIRCLECI, jwt(), f"{KUBERNETES}\n"], ids=["GitLab", "CircleCI", "variable", "file"]
)
async def test_a_token_that_is_given_is_taken_without_asking_anyone(text: str) -> None:
    google = Google({})
    token = await identity_token(Given(None, Token(text)), AUDIENCE, google.client())
    assert token
    assert token.reveal() == text.strip()
    assert google.requests == []


@pytest.mark.parametrize("source", [github, buildkite, take_given_token])
async def test_a_source_that_is_not_given_has_no_token(source: object) -> None:
    assert callable(source)
    assert await source(Given(), AUDIENCE, Google({}).client()) is None
    assert await identity_token(Given(), AUDIENCE, Google({}).client()) is None


@pytest.mark.parametrize("url", [GITHUB, BUILDKITE])
async def test_an_address_without_a_token_is_refused(url: str) -> None:
    with pytest.raises(IdentityError, match="--oidc-url is of no use without --oidc-token; give both"):
        await identity_token(Given(url), AUDIENCE, Google({}).client())


@pytest.mark.parametrize("url", ["", "github.test/oidc", "file:///etc/passwd", "https://", "http://[::"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(IdentityError, match="which is no address; give what the CI system sets"):
        await identity_token(Given(url, TICKET), AUDIENCE, Google({}).client())


@pytest.mark.parametrize("url", [GITHUB, BUILDKITE])
async def test_a_refusal_is_reported_with_the_fix_and_without_the_token(url: str) -> None:
    google = issue(httpx.Response(401, text="who is request-token?"))
    with pytest.raises(
        IdentityError, match=r"answered 401 Unauthorized: who is <token>\?\n  cause: .*\n  fix: pass "
    ):
        await identity_token(Given(url, TICKET), AUDIENCE, google.client())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, text="<html>"), "answered 200 without a text 'value'"),
        (httpx.Response(200, json=["value"]), "without a text 'value'"),
        (httpx.Response(200, json={"value": 1}), "without a text 'value'"),
        (httpx.Response(200, json={"value": ""}), "token: it is empty"),
        (httpx.Response(200, json={"value": "opaque"}), "is no JWT"),
        (httpx.Response(302, headers={"Location": "https://elsewhere.test"}), "answered 302 Found"),
    ],
)
async def test_an_answer_that_is_no_token_is_refused(answer: httpx.Response, message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        await identity_token(Given(GITHUB, TICKET), AUDIENCE, issue(answer).client())


async def test_a_given_token_that_is_no_jwt_is_refused() -> None:
    with pytest.raises(IdentityError, match="is no JWT"):
        await identity_token(Given(None, Token("opaque")), AUDIENCE, Google({}).client())


async def test_a_given_token_without_a_subject_is_refused() -> None:
    with pytest.raises(IdentityError, match="the token of --oidc-token has no aud, sub claim"):
        await identity_token(Given(None, Token("e30.eyJpc3MiOiJ4In0.c2ln")), AUDIENCE, Google({}).client())

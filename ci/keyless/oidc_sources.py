"""Sources of identity tokens: GitHub, Buildkite, and tokens that the caller gives.

A source returns a token for an audience, or None when its arguments are missing. It raises IdentityError when
they are unusable. Dagger reads variables, files and commands, so that two arguments serve everyone:

    GitHub      --oidc-url env:ACTIONS_ID_TOKEN_REQUEST_URL  --oidc-token env:ACTIONS_ID_TOKEN_REQUEST_TOKEN
    Buildkite   --oidc-url env:URL  --oidc-token env:BUILDKITE_AGENT_ACCESS_TOKEN
                where URL is $BUILDKITE_AGENT_ENDPOINT/jobs/$BUILDKITE_JOB_ID/oidc/tokens
    GitLab      --oidc-token env:NAME, which `id_tokens: NAME: aud: …` sets
    CircleCI    --oidc-token env:CIRCLE_OIDC_TOKEN_V2
    a variable  --oidc-token env:NAME
    a file      --oidc-token file:PATH, as Kubernetes projects it
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx

from errors import IdentityError
from net.http_responses import describe_response, member
from net.retry_policy import Retrying
from net.tokens import Token

_BUILDKITE = re.compile(r"/jobs/[^/]+/oidc/tokens")


@dataclass(frozen=True)
class Given:
    """Credentials that the caller gave: an address that issues tokens, a token, or both."""

    url: str | None = None
    token: Token | None = None


Source = Callable[[Given, str, Retrying], Awaitable[Token | None]]


async def github(given: Given, audience: str, client: Retrying) -> Token | None:
    """Request a token from GitHub, with the job's request token."""
    if given.url is None:
        return None
    url, ticket = _require_request(given)
    request = client.http.build_request(
        "GET",
        url.copy_merge_params({"audience": audience}),
        headers={"Authorization": ticket.authorization()},
    )
    return _read_token(await client.send(request), "value", ticket)


async def buildkite(given: Given, audience: str, client: Retrying) -> Token | None:
    """Request a token from Buildkite's agent API, as `buildkite-agent oidc request-token` does."""
    if given.url is None or not _BUILDKITE.search(given.url):
        return None
    url, ticket = _require_request(given)
    headers = {"Authorization": ticket.authorization("Token")}
    request = client.http.build_request("POST", url, headers=headers, json={"audience": audience})
    return _read_token(await client.send(request), "token", ticket)


async def take_given_token(given: Given, audience: str, client: Retrying) -> Token | None:
    """Take the token itself: GitLab's and CircleCI's variables, Kubernetes' file, or anybody else's."""
    if given.token is None or given.url is not None:
        return None
    missing = {"iss", "sub", "aud"} - given.token.claims().keys()
    if missing:
        raise IdentityError(f"identity: the token of --oidc-token has no {', '.join(sorted(missing))} claim")
    return given.token


SOURCES: tuple[Source, ...] = (buildkite, github, take_given_token)


async def identity_token(given: Given, audience: str, client: Retrying) -> Token | None:
    """Return the token of the first source that has one, None when no source goes by what is given."""
    for source in SOURCES:
        if token := await source(given, audience, client):
            return token
    return None


def _require_request(given: Given) -> tuple[httpx.URL, Token]:
    if given.token is None:
        raise IdentityError("identity: --oidc-url is of no use without --oidc-token; give both")
    try:
        url = httpx.URL(given.url or "")
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise IdentityError(
            f"identity: --oidc-url is {given.url!r}, which is no address; give what the CI system sets"
        )
    return url, given.token


def _read_token(answer: httpx.Response, name: str, ticket: Token) -> Token:
    if answer.status_code != 200:
        problem = f"identity: {answer.url.host} answered {describe_response(answer, ticket)}"
        raise IdentityError(problem, host=answer.url.host)
    token = Token(member(answer, name, IdentityError))
    token.claims()
    return token

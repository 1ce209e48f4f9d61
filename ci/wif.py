"""Workload Identity Federation: an identity token for an access token of Google's, and no key anywhere.

    identity token  --STS-->  federated token  --IAM, when a service account is given-->  its access token

https://cloud.google.com/iam/docs/reference/sts/rest and .../iam/docs/reference/credentials/rest.
"""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote
from typing import Protocol, Self

import httpx

from answers import document, member, said
from condition import Condition
from endpoints import Endpoints
from errors import (
    ExchangeRefused,
    IdentityError,
    ImpersonationRefused,
    InvalidCondition,
    InvalidIdentity,
)
from explain import advice
from identity import Given, identity_token
from retrying import Retrying, named_skew, served
from tokens import Kept, Token

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TYPE = "urn:ietf:params:oauth:token-type"
_PROVIDER = re.compile(
    r"projects/([0-9]+)/locations/global/workloadIdentityPools/([a-z0-9-]{4,32})/providers/([a-z0-9-]{4,32})"
)
_ACCOUNT = re.compile(r"[a-z0-9-]+@(?:([a-z0-9-]+)\.)?[a-z0-9.-]*gserviceaccount\.com")


@dataclass(frozen=True)
class Provider:
    """A workload identity pool's provider: whom Google believes what."""

    number: str
    pool: str
    name: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the provider of a full resource name; raises InvalidIdentity with what is wrong with it."""
        match = _PROVIDER.fullmatch(text)
        if not match:
            raise InvalidIdentity(
                f"provider: {text!r} is no workload identity provider, which is projects/NUMBER/locations/"
                f"global/workloadIdentityPools/POOL/providers/PROVIDER: {_misnamed(text)}"
            )
        return cls(*match.groups())

    @property
    def resource(self) -> str:
        """What STS calls it."""
        return (
            f"//iam.googleapis.com/projects/{self.number}/locations/global/"
            f"workloadIdentityPools/{self.pool}/providers/{self.name}"
        )

    @property
    def audience(self) -> str:
        """Whom an identity token is to be for."""
        return f"https:{self.resource}"

    def member(self, repository_id: object) -> str:
        """Return all runs of one repository, as a member of an IAM policy."""
        pool = self.resource.partition("/providers/")[0]
        return f"principalSet:{pool}/attribute.repository_id/{repository_id}"


class Secret(Protocol):
    """Dagger's."""

    async def plaintext(self) -> str:
        """Return the text."""


class File(Protocol):
    """Dagger's."""

    async def contents(self) -> str:
        """Return the text."""


@dataclass(frozen=True)
class Identity:
    """Who releases: what all functions that talk to Google take as arguments."""

    provider: Provider
    service_account: str | None
    given: Given
    endpoints: Endpoints

    @classmethod
    async def of(
        cls,
        provider: str,
        service_account: str | None = None,
        oidc_url: Secret | None = None,
        oidc_token: Secret | None = None,
        google_endpoints: File | None = None,
    ) -> Self:
        """Return the identity that arguments describe; raises a GoogleError for one that cannot be right."""
        if service_account and not _ACCOUNT.fullmatch(service_account):
            raise InvalidIdentity(
                f"service account: {service_account!r} is no address such as "
                "NAME@PROJECT.iam.gserviceaccount.com"
            )
        url = (await oidc_url.plaintext()).strip() if oidc_url else None
        token = Token(await oidc_token.plaintext()) if oidc_token else None
        endpoints = Endpoints.of(await google_endpoints.contents() if google_endpoints else None)
        return cls(Provider.of(provider), service_account or None, Given(url, token), endpoints)


class Federation:
    """Mints tokens for one identity, when they are asked for."""

    def __init__(self, identity: Identity, client: Retrying) -> None:
        """Ask through a client; nothing is asked yet."""
        self.identity, self._client = identity, client
        self._federated, self._impersonated = Kept(self._exchange), Kept(self._impersonate)
        self._claims: dict[str, object] = {}

    async def identity_token(self) -> Token:
        """Return a new token that says who runs this; raises IdentityError when there is none."""
        token = await identity_token(self.identity.given, self.identity.provider.audience, self._client)
        if token is None:
            problem = (
                "identity: no identity is given, as by ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN on GitHub"
            )
            raise IdentityError(problem + advice(problem))
        self._claims = token.claims()
        return token

    async def federated_token(self) -> Token:
        """Return the token that STS gives for the identity; raises GoogleError when it does not."""
        return await self._federated.token()

    async def access_token(self) -> Token:
        """Return the token to work with: the service account's when there is one, else the federated one."""
        return await (self._impersonated if self.identity.service_account else self._federated).token()

    async def id_token(self, audience: str) -> Token:
        """Return a token that names the service account to a private service, by the service's URL."""
        answer = await self._credentials("generateIdToken", {"audience": audience, "includeEmail": True})
        return Token(member(answer, "token", ImpersonationRefused))

    async def _exchange(self) -> Token:
        subject = await self.identity_token()
        request = self._client.http.build_request(
            "POST",
            f"{self.identity.endpoints.sts}/v1/token",
            json={
                "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
                "audience": self.identity.provider.resource,
                "scope": _SCOPE,
                "requestedTokenType": f"{_TYPE}:access_token",
                "subjectTokenType": f"{_TYPE}:jwt",
                "subjectToken": subject.reveal(),
            },
        )
        answer = await self._client.send(request)
        if answer.status_code != 200:
            step = f"sts: exchanging the identity at {self.identity.provider.resource}"
            raise ExchangeRefused(self._refused(step, answer, subject))
        return Token(member(answer, "access_token", ExchangeRefused), _lifetime(answer))

    async def _impersonate(self) -> Token:
        wanted = {"scope": [_SCOPE], "lifetime": "3600s"}
        answer = await self._credentials("generateAccessToken", wanted)
        return Token(member(answer, "accessToken", ImpersonationRefused), _until(answer))

    async def _credentials(self, method: str, wanted: Mapping[str, object]) -> httpx.Response:
        account = self.identity.service_account
        if account is None:
            raise InvalidIdentity(f"iam: {method} is of a service account; give --service-account")
        federated = await self.federated_token()
        path = f"/v1/projects/-/serviceAccounts/{account}:{method}"
        request = self._client.http.build_request(
            "POST",
            f"{self.identity.endpoints.iamcredentials}{path}",
            headers={"Authorization": federated.authorization()},
            json=wanted,
        )
        answer = await self._client.send(request)
        if answer.status_code != 200:
            step = f"iam: {method} of {account}"
            raise ImpersonationRefused(self._refused(step, answer, federated))
        return answer

    def _refused(self, step: str, answer: httpx.Response, sent: Token) -> str:
        """Return what became of a step, with all that helps to end it, and of tokens nothing but claims."""
        problem = f"{step} answered {said(answer, sent)}"
        notes = [named_skew(answer)]
        if "attribute condition" in problem:
            notes.append(verdict(self._claims))
        problem += "".join(f"\n  {note}" for note in notes if note)
        return problem + advice(problem, self._claims, **known(self.identity, self._claims))


def known(identity: Identity, claims: Mapping[str, object]) -> dict[str, str]:
    """Return what the commands of an explanation can name of an identity."""
    provider, account = identity.provider, identity.service_account
    names = {"number": provider.number, "pool": provider.pool, "provider": provider.name}
    names |= {"audience": provider.audience, "host": httpx.URL(identity.endpoints.sts).host}
    if account and (match := _ACCOUNT.fullmatch(account)):
        names |= {"account": account, "project": match[1] or "PROJECT", "pusher": f"serviceAccount:{account}"}
    if repository := claims.get("repository_id"):
        runs = provider.member(repository)
        names = {"pusher": runs} | names | {"member": runs}
    with suppress(InvalidCondition):
        names["condition"] = str(recommended(claims))
    return names


def recommended(claims: Mapping[str, object]) -> Condition:
    """Return setup-google's condition for a token's repository; InvalidCondition when it names none."""
    return Condition.of(str(claims.get("repository_id", "")), str(claims.get("repository_owner_id", "")))


def verdict(claims: Mapping[str, object]) -> str:
    """Return which clauses of setup-google's condition a token's claims fail, the ids aside."""
    try:
        failing = recommended(claims).verdict(claims)
    except InvalidCondition:
        return "condition: the token names no repository by number, as GitHub's do"
    return f"condition: {failing or 'nothing but its repository or owner id can be what fails'}"


def _misnamed(text: str) -> str:
    match = re.match(r"projects/([^/]+)(?:/locations/global/workloadIdentityPools/[^/]+(/?)$)?", text)
    if match and not match[1].isdecimal():
        return (
            f"{match[1]!r} is no project number; `gcloud projects describe {quote(match[1])} "
            "--format='value(projectNumber)'` prints it"
        )
    if match and match[2] is not None:
        return "it is a pool; add /providers/PROVIDER"
    return "`dagger call setup-google` prints it"


def _lifetime(answer: httpx.Response) -> float:
    """Return when a token of STS expires, in time.monotonic()."""
    seconds = document(answer).get("expires_in")
    if not isinstance(seconds, int):
        raise ExchangeRefused(f"sts: a token expires in {seconds!r}, which is no number of seconds")
    return time.monotonic() + seconds


def _until(answer: httpx.Response) -> float:
    """Return when a token of IAM expires, in time.monotonic(): the date it names is one of IAM's clock."""
    text = member(answer, "expireTime", ImpersonationRefused)
    try:
        left = datetime.fromisoformat(text) - (served(answer) or datetime.now(UTC))
    except (ValueError, TypeError) as error:
        raise ImpersonationRefused(
            f"iam: a token expires at {text!r}, which is no date with a zone"
        ) from error
    return time.monotonic() + left.total_seconds()

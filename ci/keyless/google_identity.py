"""Identity at Google: a provider that vouches for a job, and perhaps a service account."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import Protocol, Self

import httpx

from conditions.attribute_condition import Condition
from errors import InvalidCondition, InvalidIdentity
from keyless.endpoints import Endpoints
from keyless.oidc_sources import Given
from net.tokens import Token

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
                f"global/workloadIdentityPools/POOL/providers/PROVIDER: {_explain_provider_name(text)}"
            )
        return cls(*match.groups())

    @property
    def resource(self) -> str:
        """Name of the provider at STS."""
        return (
            f"//iam.googleapis.com/projects/{self.number}/locations/global/"
            f"workloadIdentityPools/{self.pool}/providers/{self.name}"
        )

    @property
    def audience(self) -> str:
        """Audience of identity tokens for the provider."""
        return f"https:{self.resource}"

    def member(self, repository_id: str, environment: str = "") -> str:
        """Return a repository's runs, those in one of its environments only, as a member of an IAM policy."""
        pool = self.resource.partition("/providers/")[0]
        if re.fullmatch(r"[\w.-]+", environment, re.ASCII):
            return f"principalSet:{pool}/attribute.environment/{repository_id}:{environment}"
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
    """Identity of a releasing job: the arguments of all functions that send requests to Google."""

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


def advice_names(identity: Identity, claims: Mapping[str, object]) -> dict[str, str]:
    """Return what the commands of an explanation can name of an identity."""
    provider, account = identity.provider, identity.service_account
    names = {"number": provider.number, "pool": provider.pool, "provider": provider.name}
    names |= {"audience": provider.audience, "host": httpx.URL(identity.endpoints.sts).host}
    said = {"issuer": claims.get("iss"), "given": claims.get("aud")}
    names |= {name: quote(str(claim)) for name, claim in said.items() if claim}
    if account and (match := _ACCOUNT.fullmatch(account)):
        names |= {"account": account, "project": match[1] or "PROJECT", "pusher": f"serviceAccount:{account}"}
    if re.fullmatch("[0-9]+", repository := str(claims.get("repository_id"))):
        runs = provider.member(repository, str(claims.get("environment") or ""))
        names = {"pusher": runs} | names | {"member": runs}
    with suppress(InvalidCondition):
        names["condition"] = str(recommend_condition(claims))
    return names


def recommend_condition(claims: Mapping[str, object]) -> Condition:
    """Return setup-google's condition for a token's repository; InvalidCondition when it names none."""
    return Condition.of(str(claims.get("repository_id", "")), str(claims.get("repository_owner_id", "")))


def verdict(claims: Mapping[str, object]) -> str:
    """Return which clauses of setup-google's condition a token's claims fail, the ids aside."""
    try:
        failing = recommend_condition(claims).verdict(claims)
    except InvalidCondition:
        return "condition: the token names no repository by number, as GitHub's do"
    return f"condition: {failing or 'nothing but its repository or owner id can be what fails'}"


def map_attributes(claims: Mapping[str, object]) -> str:
    """Return the attributes of a token's principal that setup-google's bindings name, "" without any."""
    repository = claims.get("repository_id")
    if repository is None:
        return ""
    environment = claims.get("environment") or "none"
    return (
        f"the token's principal: attribute.repository_id/{repository}, "
        f"attribute.environment/{repository}:{environment}"
    )


def _explain_provider_name(text: str) -> str:
    match = re.match(r"projects/([^/]+)(?:/locations/global/workloadIdentityPools/[^/]+(/?)$)?", text)
    if match and not match[1].isdecimal():
        return (
            f"{match[1]!r} is no project number; `gcloud projects describe {quote(match[1])} "
            "--format='value(projectNumber)'` prints it"
        )
    if match and match[2] is not None:
        return "it is a pool; add /providers/PROVIDER"
    return "`dagger call setup-google` prints it"

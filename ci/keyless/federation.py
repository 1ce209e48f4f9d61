"""Workload Identity Federation: an identity token for an access token of Google's, and no key anywhere.

    identity token  --STS-->  federated token  --IAM, when a service account is given-->  its access token

https://cloud.google.com/iam/docs/reference/sts/rest and .../iam/docs/reference/credentials/rest.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx

from errors import ExchangeRefused, IdentityError, ImpersonationRefused, InvalidIdentity
from keyless.google_identity import Identity, advice_names, map_attributes, verdict
from keyless.oidc_sources import identity_token
from net.http_responses import describe_response, document, member
from net.retry_policy import Retrying, named_skew, server_time
from net.tokens import Kept, Token, is_lifetime

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TYPE = "urn:ietf:params:oauth:token-type"


class Federation:
    """Mints tokens for one identity, on demand."""

    def __init__(self, identity: Identity, client: Retrying) -> None:
        """Take a client for the requests; none is sent yet."""
        self.identity, self._client = identity, client
        self._federated, self._impersonated = Kept(self._exchange), Kept(self._impersonate)
        self._claims: dict[str, object] = {}

    async def identity_token(self) -> Token:
        """Return a new token that says who runs this; raises IdentityError when there is none."""
        token = await identity_token(self.identity.given, self.identity.provider.audience, self._client)
        if token is None:
            raise IdentityError(
                "identity: no identity is given, as by ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN on GitHub"
            )
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
        token = Token(member(answer, "token", ImpersonationRefused))
        expires, issued = token.claims().get("exp"), token.claims().get("iat")
        if isinstance(expires, int) and isinstance(issued, int) and is_lifetime(left := expires - issued):
            token.expires = time.monotonic() + left
        return token

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
            problem = self._describe_refusal(step, answer, subject)
            raise ExchangeRefused(problem, self._claims, **advice_names(self.identity, self._claims))
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
            problem = self._describe_refusal(step, answer, federated, map_attributes(self._claims))
            raise ImpersonationRefused(problem, self._claims, **advice_names(self.identity, self._claims))
        return answer

    def _describe_refusal(self, step: str, answer: httpx.Response, sent: Token, principal: str = "") -> str:
        """Return what became of a step, with all that helps to end it, and of tokens nothing but claims."""
        problem = f"{step} answered {describe_response(answer, sent)}"
        notes = [named_skew(answer), principal if answer.status_code == 403 else ""]
        if "attribute condition" in problem:
            notes.append(verdict(self._claims))
        return problem + "".join(f"\n  {note}" for note in notes if note)


def _lifetime(answer: httpx.Response) -> float:
    """Return when a token of STS expires, in time.monotonic()."""
    seconds = document(answer).get("expires_in")
    if not is_lifetime(seconds):
        raise ExchangeRefused(f"sts: a token expires in {seconds!r:.40}, which is no number of seconds")
    return time.monotonic() + seconds


def _until(answer: httpx.Response) -> float:
    """Return when a token of IAM expires, in time.monotonic(): the date it names is one of IAM's clock."""
    text = member(answer, "expireTime", ImpersonationRefused)
    try:
        left = datetime.fromisoformat(text) - (server_time(answer) or datetime.now(UTC))
    except (ValueError, TypeError) as error:
        raise ImpersonationRefused(
            f"iam: a token expires at {text!r}, which is no date with a zone"
        ) from error
    return time.monotonic() + left.total_seconds()

"""A releasing job as plain requests to the fake cloud, checked against Google's descriptions of its APIs."""

from __future__ import annotations

import re
from typing import Any, Self

import httpx

from fakecloud.identity.sts import GRANT
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.policy import CLOUD_PLATFORM
from tests.ci import discovery

TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
IMAGE = "rehearsal-project/models/milestone2"


class Releaser:
    """A job in a setup, at a fake cloud's address."""

    def __init__(self, address: str, setup: CloudSetup) -> None:
        """Send requests to the fake cloud at an address."""
        self.http = httpx.Client(base_url=address, timeout=60)
        self.setup = setup

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.http.close()

    def identity(self, audience: str | None = None, token: str | None = None) -> httpx.Response:
        """Ask GitHub who this is."""
        audience = audience or f"https://iam.googleapis.com/{self.setup.provider.resource}"
        headers = {"Authorization": f"Bearer {token or self.setup.request_token}"}
        return self.http.get(
            "/github/idtoken", params={"api-version": "2.0", "audience": audience}, headers=headers
        )

    def exchange(self, scope: str = CLOUD_PLATFORM) -> httpx.Response:
        """Exchange the identity, as JSON in the names of Google's description."""
        content = {
            "grantType": GRANT,
            "audience": f"//iam.googleapis.com/{self.setup.provider.resource}",
            "scope": scope,
            "requestedTokenType": f"{TOKEN_TYPE}access_token",
            "subjectTokenType": f"{TOKEN_TYPE}jwt",
            "subjectToken": self.identity().json()["value"],
        }
        return self.call("POST", "sts", "v1/token", json=content)

    def federate(self, scope: str = CLOUD_PLATFORM) -> str:
        """Return a federated access token."""
        return str(self.exchange(scope).raise_for_status().json()["access_token"])

    def act(self, verb: str, token: str | None, email: str = "", **content: Any) -> httpx.Response:
        """Ask for one of a service account's tokens."""
        account = f"projects/-/serviceAccounts/{email or self.setup.service_account}"
        return self.call("POST", "iamcredentials", f"v1/{account}:{verb}", token, json=content)

    def impersonate(self, **content: Any) -> str:
        """Return the service account's access token."""
        answer = self.act("generateAccessToken", self.federate(), scope=[CLOUD_PLATFORM], **content)
        return str(answer.raise_for_status().json()["accessToken"])

    def call(self, method: str, api: str, path: str, token: str | None = None, **sent: Any) -> httpx.Response:
        """Call a Google API with a token; a success must be as described, and so must its request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.http.request(method, f"/{api}/{path}", headers=headers, **sent)
        if answer.is_success:
            url = f"https://{api}.googleapis.com/{path}"
            discovery.validate(httpx.Request(method, url, content=answer.request.content), answer)
        return answer

    def registry(self, method: str, path: str, token: str | None = None, **sent: Any) -> httpx.Response:
        """Ask the registry's front, as a bearer of a token."""
        headers = sent.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return self.http.request(method, path, headers=headers, **sent)

    def registry_token(
        self, password: str, scope: str = f"repository:{IMAGE}:pull,push", user: str = "oauth2accesstoken"
    ) -> httpx.Response:
        """Ask the registry's token endpoint, as Docker does."""
        service = self.setup.repository.host
        return self.http.get("/v2/token", params={"service": service, "scope": scope}, auth=(user, password))

    def visitor(self) -> str:
        """Return a registry token."""
        return str(self.registry_token(self.federate()).raise_for_status().json()["token"])


def realm(answer: httpx.Response) -> dict[str, str]:
    """Return a challenge's parameters."""
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    return dict(re.findall(r'(\w+)="([^"]*)"', challenge))

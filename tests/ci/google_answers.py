"""Google and a CI system as a table of responses; both sides are checked against Google's descriptions."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx

from keyless.endpoints import Endpoints
from keyless.federation import Federation
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.retry_policy import Retrying
from net.tokens import Token
from tests.ci import discovery

PROVIDER = "projects/123456/locations/global/workloadIdentityPools/releases/providers/github"
AUDIENCE = f"https://iam.googleapis.com/{PROVIDER}"
ACCOUNT = "releaser@my-project.iam.gserviceaccount.com"
GITHUB = "https://github.test/oidc?api-version=2.0"
STS, IAM, ARTIFACTS = "sts.googleapis.com", "iamcredentials.googleapis.com", "artifactregistry.googleapis.com"
CLAIMS: dict[str, object] = {
    "iss": "https://token.actions.githubusercontent.com",
    "sub": "repo:acme@45/model@123:ref:refs/tags/v1.0.0",
    "aud": AUDIENCE,
    "iat": 1795489200,
    "nbf": 1795488600,
    "exp": 1795489500,
    "repository": "acme/model",
    "repository_id": "123",
    "repository_owner_id": "45",
    "ref": "refs/tags/v1.0.0",
    "ref_type": "tag",
    "runner_environment": "github-hosted",
    "event_name": "push",
    "workflow_ref": "acme/model/.github/workflows/milestone2-ci.yml@refs/tags/v1.0.0",
    "run_id": "678",
}
SECRETS = ("github-request-token", "ya29.federated", "ya29.impersonated")


def jwt(**claims: object) -> str:
    """Return an unsigned token with GitHub's claims, some of them changed."""
    payload = base64.urlsafe_b64encode(json.dumps(CLAIMS | claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl"


def api_error(status: int, code: str, message: str) -> httpx.Response:
    """Return a refusal of a Google API."""
    return httpx.Response(status, json={"error": {"code": status, "status": code, "message": message}})


def sts_error(code: str, message: str) -> httpx.Response:
    """Return a refusal of the Security Token Service."""
    return httpx.Response(400, json={"error": code, "error_description": message})


def success(host: str = "sts") -> httpx.Response:
    """Return what a service answers when all is well."""
    now = datetime.now(UTC)
    answers: dict[str, dict[str, object]] = {
        "github": {"value": jwt()},
        "sts": {
            "access_token": "ya29.federated",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3599,
        },
        "iam": {
            "accessToken": "ya29.impersonated",
            "expireTime": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "permissions": {
            "permissions": [
                "artifactregistry.repositories.downloadArtifacts",
                "artifactregistry.repositories.uploadArtifacts",
            ]
        },
        "repository": {"name": "r", "format": "DOCKER", "dockerConfig": {"immutableTags": True}},
    }
    return httpx.Response(200, json=answers[host], headers={"Date": format_datetime(now, usegmt=True)})


@dataclass
class Google:
    """Responses by host, or by host and verb; requests are kept."""

    answers: dict[str, httpx.Response | httpx.TransportError]
    requests: list[httpx.Request] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    strict: bool = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Return the response to a request."""
        self.requests.append(request)
        verb = request.url.path.rpartition(":")[2]
        answer = self.answers.get(f"{request.url.host}:{verb}") or self.answers[request.url.host]
        if isinstance(answer, httpx.TransportError):
            raise answer
        if request.url.host in discovery.HOSTS:
            self.called.append(discovery.validate(request, answer if self.strict else None))
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    def client(self) -> Retrying:
        """Return a client whose requests come here, at most once each."""
        return Retrying(httpx.AsyncClient(transport=httpx.MockTransport(self.answer)), attempts=1)

    def federation(self, account: str | None = None, given: Given | None = None) -> Federation:
        """Return a federation whose requests come here."""
        return Federation(identity(account, given), self.client())


def identity(account: str | None = None, given: Given | None = None) -> Identity:
    """Return GitHub's identity, or another."""
    given = given or Given(GITHUB, Token("github-request-token"))
    return Identity(Provider.of(PROVIDER), account, given, Endpoints())


def well(**changed: httpx.Response | httpx.TransportError) -> Google:
    """Return Google with all well but what is changed: github, sts, iam, permissions, …"""
    names = {
        "github": "github.test",
        "sts": STS,
        "iam": f"{IAM}:generateAccessToken",
        "id": f"{IAM}:generateIdToken",
        "permissions": f"{ARTIFACTS}:testIamPermissions",
        "repository": ARTIFACTS,
        "registry": "us-docker.pkg.dev",
    }
    challenge = {"WWW-Authenticate": 'Bearer realm="https://us-docker.pkg.dev/v2/token",service="x"'}
    answers: dict[str, httpx.Response | httpx.TransportError] = {
        names[name]: success(name) for name in ("github", "sts", "iam", "permissions", "repository")
    }
    answers[names["id"]] = httpx.Response(200, json={"token": jwt(aud="https://service.test")})
    answers[names["registry"]] = httpx.Response(401, headers=challenge)
    return Google(answers | {names[name]: answer for name, answer in changed.items()})

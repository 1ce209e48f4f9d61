"""IAM Credentials: a service account's access token or ID token, for a caller who may act as it."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.identity.keys import KeyRing
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Grant, Ledger
from fakecloud.state.policy import ACCESS_TOKEN, CLOUD_PLATFORM, ID_TOKEN, ServiceAccount, allows
from fakecloud.state.refusals import ApiRefusal, PlainRefusal, permission_denied

_LONGEST = 3600
_IAM = "https://www.googleapis.com/auth/iam"
_DURATION = re.compile(r"(\d{1,12})(\.\d{1,9})?s")
_EMAIL = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]@[a-z0-9.-]+\.gserviceaccount\.com")
_SCOPE = re.compile(r"https://(www\.googleapis\.com/auth/[a-z][a-z./_-]*|mail\.google\.com/)")
_UNIQUE_ID = "100000000000000000001"
_TOO_LONG = (
    "Access tokens for service account {email} can not have lifetimes of more than 1 hour. Use the Org "
    "Policy Constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension to allow up to 12 "
    "hours."
)


@dataclass(frozen=True)
class Credentials:
    """The service, for the service accounts that exist."""

    setup: CloudSetup
    ledger: Ledger
    ring: KeyRing = field(default_factory=KeyRing)

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the service's address; Google's keys are elsewhere in reality."""
        account = "/v1/projects/{project}/serviceAccounts/{email}"
        return [
            Route(f"{account}:generateAccessToken", self.access_token, methods=["POST"]),
            Route(f"{account}:generateIdToken", self.id_token, methods=["POST"]),
            Route("/oauth2/v3/certs", self.certs),
        ]

    async def access_token(self, request: Request) -> Response:
        """Answer generateAccessToken."""
        email = self._authorize(request, ACCESS_TOKEN)
        parameters = read_content(await request.body(), {"scope": list, "lifetime": str, "delegates": list})
        scopes = parameters.get("scope") or []
        if not scopes or not all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in scopes):
            raise _invalid()
        seconds = _lifetime(parameters.get("lifetime", "3600s"), email)
        token = self.ledger.issue(ServiceAccount(email), seconds, frozenset(scopes))
        expires = datetime.fromtimestamp(self.ledger.clock.google() + seconds, UTC)
        return JSONResponse({"accessToken": token, "expireTime": f"{expires:%Y-%m-%dT%H:%M:%SZ}"})

    async def id_token(self, request: Request) -> Response:
        """Answer generateIdToken."""
        email = self._authorize(request, ID_TOKEN)
        fields = {"audience": str, "includeEmail": bool, "organizationNumberIncluded": bool}
        parameters = read_content(await request.body(), {**fields, "delegates": list})
        if not parameters.get("audience"):
            raise _invalid()
        now = int(self.ledger.clock.google())
        claims = {"aud": parameters["audience"], "azp": _UNIQUE_ID, "sub": _UNIQUE_ID, "iat": now}
        claims |= {"iss": "https://accounts.google.com", "exp": now + _LONGEST, "jti": secrets.token_hex(16)}
        if parameters.get("includeEmail"):
            claims |= {"email": email, "email_verified": True}
        token = await run_in_threadpool(self.ring.sign, claims, now=now, until=now + _LONGEST)
        return JSONResponse({"token": token})

    async def certs(self, request: Request) -> Response:
        """Answer with the keys of Google's ID tokens."""
        return JSONResponse(self.ring.jwks())

    def _authorize(self, request: Request, permission: str) -> str:
        """Return the account's address when the caller may have its tokens."""
        grant, email = self.ledger.bearer(request.headers), str(request.path_params["email"])
        if not _EMAIL.fullmatch(email):
            raise PlainRefusal(404)
        _check_scopes(grant)
        if request.path_params["project"] != "-":
            raise _invalid()
        if email not in self.setup.accounts:
            raise ApiRefusal("NOT_FOUND", f"Not found; Gaia id not found for email {email}")
        if not allows(self.setup, grant.principal, permission, email):
            raise permission_denied(permission, "")
        return email


def _check_scopes(grant: Grant) -> None:
    if not {CLOUD_PLATFORM, _IAM} & grant.scopes:
        message = "Request had insufficient authentication scopes."
        raise ApiRefusal("PERMISSION_DENIED", message, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")


def _invalid() -> ApiRefusal:
    return ApiRefusal("INVALID_ARGUMENT", "Request contains an invalid argument.")


def read_content(body: bytes, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return a request's JSON; a name or a kind that the API does not have is refused."""
    try:
        content = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiRefusal("INVALID_ARGUMENT", "Invalid JSON payload received.") from error
    if not isinstance(content, dict):
        raise ApiRefusal("INVALID_ARGUMENT", "Invalid JSON payload received.")
    for name, value in content.items():
        if name not in kinds:
            unknown = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
            raise ApiRefusal("INVALID_ARGUMENT", unknown)
        if not isinstance(value, kinds[name] | None):
            raise ApiRefusal("INVALID_ARGUMENT", f"Invalid value at '{name}'")
    # In JSON of protocol buffers null is as good as nothing; google-auth sends it.
    return {name: value for name, value in content.items() if value is not None}


def _lifetime(text: str, email: str) -> float:
    """Return a google-duration as seconds; an organization that allows more than an hour is not rehearsed."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ApiRefusal(
            "INVALID_ARGUMENT",
            "Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration), Field 'lifetime', "
            "Illegal duration format; duration must end with 's'",
        )
    seconds = float(text[:-1])
    if seconds == 0:
        raise ApiRefusal("INVALID_ARGUMENT", "Lifetime of access token must be larger then zero.")
    if seconds > _LONGEST:
        raise ApiRefusal("INVALID_ARGUMENT", _TOO_LONG.format(email=email))
    return seconds

"""Authentication at the registry host: token endpoint, challenges, refusals.

These are the real service's recorded answers. A token of the token endpoint says who its bearer is, not
what they may do: that is looked up at every request. Here it ends with the access token that it was given
for; how long the real one stays good was never measured.
"""

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fakecloud.state.fixtures import HOST_SUFFIX, CloudSetup
from fakecloud.state.ledger import Grant, Ledger
from fakecloud.state.policy import DOWNLOAD, UPLOAD, allows
from fakecloud.state.refusals import REGISTRY_VERSION, RegistryRefusal

_LIFETIME = 43200


@dataclass(frozen=True)
class RegistryTarget:
    """Target of a request and its location: an image, and a manifest, blob or list of it."""

    image: str
    location: str
    kind: str = ""
    reference: str = ""

    @property
    def resource(self) -> str:
        """Return the repository as IAM names it."""
        project, repository = self.image.split("/")[:2]
        return f"projects/{project}/locations/{self.location}/repositories/{repository}"

    @property
    def tag(self) -> str:
        """Return the tag that the request names, or nothing."""
        return self.reference if self.kind == "manifests" and ":" not in self.reference else ""


@dataclass(frozen=True)
class TokenEndpoint:
    """Token endpoint and its checks; anonymous callers are None."""

    setup: CloudSetup
    ledger: Ledger
    visitors: dict[str, Grant | None] = field(default_factory=dict)

    async def token(self, request: Request) -> Response:
        """Answer a client that followed the challenge with a token for the registry."""
        given = request.headers.get("authorization", "")
        grant = self._basic(given, "authentication failed") if given else None
        for scope in request.query_params.getlist("scope"):
            kind, _, rest = scope.partition(":")
            image, _, actions = rest.rpartition(":")
            if kind == "repository":
                permission = UPLOAD if "push" in actions.split(",") else DOWNLOAD
                self.authorize(grant, permission, RegistryTarget(full_name(image), self.location(request)))
        token = secrets.token_urlsafe(300)
        self.visitors[_key(token)] = grant
        return JSONResponse({"token": token, "expires_in": _LIFETIME}, headers=REGISTRY_VERSION)

    def caller(self, request: Request, scope: str = "") -> Grant | None:
        """Return whom a request speaks for; refuse who brings no token, or none that is good."""
        given = request.headers.get("authorization", "")
        if not given:
            raise self._challenge(request, scope)
        scheme, _, credential = given.partition(" ")
        if scheme.lower() != "bearer":
            return self._basic(given, "No valid credential was supplied.")
        grant = self.visitors.get(_key(credential), self.ledger.lookup(credential))
        expired = grant is not None and grant.expires <= self.ledger.clock.google()
        if expired or (grant is None and _key(credential) not in self.visitors):
            raise RegistryRefusal(401, "UNAUTHORIZED", "No valid credential was supplied.")
        return grant

    def may(self, grant: Grant | None, permission: str, target: RegistryTarget) -> bool:
        """Return whether a caller has a permission on the repository that a target is in."""
        if grant is None or not grant.unrestricted:
            return False
        return allows(self.setup, grant.principal, permission, target.resource)

    def authorize(self, grant: Grant | None, permission: str, target: RegistryTarget) -> None:
        """Refuse a caller who lacks a permission."""
        if self.may(grant, permission, target):
            return
        where = f'on resource "{target.resource}" (or it may not exist)'
        message = f'Permission "{permission}" denied {where}'
        if grant is None:
            anonymous = "Unauthenticated request. Unauthenticated requests do not have permission"
            message = f'{anonymous} "{permission}" {where}'
        raise RegistryRefusal(403, "DENIED", message)

    def location(self, request: Request) -> str:
        """Return the location that the client believes to talk to: by host name, else by service."""
        for name in (request.url.hostname or "", request.query_params.get("service", "")):
            if name.endswith(HOST_SUFFIX):
                return name.removesuffix(HOST_SUFFIX)
        return self.setup.repository.location

    def _basic(self, header: str, refusal: str) -> Grant | None:
        """Return the principal of a user and password; an empty password makes the caller anonymous."""
        scheme, _, encoded = header.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, password = "", "undecodable"
        grant = self.ledger.live(password)
        if scheme.lower() != "basic" or user != "oauth2accesstoken" or (password and grant is None):
            raise RegistryRefusal(401, "UNAUTHORIZED", refusal)
        return grant

    def _challenge(self, request: Request, scope: str) -> RegistryRefusal:
        challenge, message = f'Bearer realm="{request.base_url}v2/token"', "No credential was supplied."
        if scope:
            challenge += f',service="{self.location(request)}{HOST_SUFFIX}",scope="{scope}"'
            message = "No valid credential was supplied."
        return RegistryRefusal(401, "UNAUTHORIZED", f"not authenticated: {message}", challenge)


def full_name(image: str) -> str:
    """Return an image's name with project, repository and, where that is left out, `pkg`."""
    components = image.split("/")
    if len(components) < 2:
        raise RegistryRefusal(400, "NAME_INVALID", f"invalid number of path components: {len(components)}")
    return image if len(components) > 2 else f"{image}/pkg"


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

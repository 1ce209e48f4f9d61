"""The Security Token Service: an identity token for an access token (RFC 8693).

Messages are Google's where a report of the real service shows one: audience, target, issuer, signature,
times, condition, subject. Those for a wrong grant, token type or scope were never seen; they follow the
pattern of the others. Clock tolerance and lifetime are as measured there: a minute either way, and as long
as the identity token lasts, an hour at most.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.identity.attribute_mapping import Evaluator
from fakecloud.identity.keys import KeyRing
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Ledger
from fakecloud.state.refusals import OAuthRefusal

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
_ACCESS_TOKEN = f"{_TOKEN_TYPE}access_token"
_SUBJECT_TYPES = (f"{_TOKEN_TYPE}jwt", f"{_TOKEN_TYPE}id_token")
_SCOPE = re.compile(r"https://www\.googleapis\.com/auth/[a-z][a-z._-]*")
_AUDIENCE = re.compile(
    r"//iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+"
)
_TOLERANCE, _LONGEST = 60, 3600
# https://cloud.google.com/iam/docs/workload-identity-federation: a token lives for 24 hours at most.
_LONGEST_TOKEN = 24 * 3600
_SHOWN = 200  # characters of a claim
_NOT_A_PROVIDER = (
    'Invalid value for "audience". This value should be the full resource name of the Identity Provider. '
    "See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible "
    "formats."
)
_NO_PROVIDER = (
    'The target service indicated by the "audience" parameters is invalid. This might either be because '
    "the pool or provider is disabled or deleted or because it doesn't exist."
)


@dataclass(frozen=True)
class TokenService:
    """The service, for the one provider that exists; its issuer's key set is at hand."""

    setup: CloudSetup
    ledger: Ledger
    issuer: KeyRing
    evaluator: Evaluator

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the service's address."""
        return [Route("/v1/token", self.token, methods=["POST"])]

    async def token(self, request: Request) -> Response:
        """Answer an exchange."""
        parameters = _parameters(request.headers.get("content-type", ""), await request.body())
        _check_kinds(parameters)
        self._check_audience(parameters.get("audience", ""))
        scopes = _scopes(parameters.get("scope", ""))
        claims = self._verify(parameters["subject_token"])
        principal = self.evaluator.principal(claims)
        # A token in its last minute of tolerance got the seconds since it expired.
        seconds = min(abs(int(claims["exp"] - self.ledger.clock.google())), _LONGEST)
        token = self.ledger.issue(principal, seconds, scopes)
        answer = {"access_token": token, "issued_token_type": _ACCESS_TOKEN, "token_type": "Bearer"}
        return JSONResponse({**answer, "expires_in": seconds})

    def _check_audience(self, audience: str) -> None:
        if not _AUDIENCE.fullmatch(audience):
            raise OAuthRefusal("invalid_request", _NOT_A_PROVIDER)
        provider = self.setup.provider
        if audience != f"//iam.googleapis.com/{provider.resource}" or not provider.enabled:
            raise OAuthRefusal("invalid_target", _NO_PROVIDER)

    def _verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that is the issuer's, for this provider, and of this time."""
        claims = _decode_unverified(token)
        issuer, expected = claims.get("iss", "null"), self.setup.provider.issuer
        if issuer != expected:
            raise _grant_error(
                f"The issuer in ID Token {issuer} does not match the expected one in config: {expected}."
            )
        self._check_signature(token)
        self._check_token_audience(claims.get("aud"))
        self._check_times(claims)
        return claims

    def _check_signature(self, token: str) -> None:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise _grant_error("Unable to parse the ID Token.") from error
        keys = {key["kid"]: key for key in self.issuer.jwks()["keys"]}
        if header.get("alg") != "RS256" or header.get("kid") not in keys:
            raise _grant_error("Error connecting to the given credential's issuer.")
        try:
            jwt.PyJWS().decode(token, jwt.PyJWK(keys[header["kid"]]), ["RS256"])
        except jwt.InvalidTokenError as error:
            raise _grant_error("Unable to verify the ID Token signature.") from error

    def _check_token_audience(self, audience: object) -> None:
        given = audience if isinstance(audience, list) else [audience] if audience else []
        accepted = self.setup.provider.accepted_audiences
        if not any(isinstance(each, str) and each in accepted for each in given):
            shown = ", ".join(f"{each}"[:_SHOWN] for each in given[:_SHOWN])
            raise _grant_error(f"The audience in ID Token [{shown}] does not match the expected audience.")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        issued, expires, begins = claims.get("iat"), claims.get("exp"), claims.get("nbf", 0)
        now, stale = self.ledger.clock.google(), True
        if isinstance(issued, int) and isinstance(expires, int) and isinstance(begins, int):
            stale = max(issued, begins) > now + _TOLERANCE or expires < now - _TOLERANCE
            stale |= expires - issued > _LONGEST_TOKEN
        if stale:
            shown = "null" if issued is None else f"{issued}"[:_SHOWN]
            raise _grant_error(f"ID Token issued at {shown} is stale to sign-in.")


def _grant_error(description: str) -> OAuthRefusal:
    return OAuthRefusal("invalid_grant", description)


def _decode_unverified(token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise _grant_error("Unable to parse the ID Token.") from error
    return claims


def _parameters(kind: str, body: bytes) -> dict[str, str]:
    """Return the parameters by their names in a form; in JSON they may be in camel case."""
    try:
        if kind.partition(";")[0] == "application/json":
            given = {_snake_case(name): value for name, value in json.loads(body).items()}
        else:
            given = dict(parse_qsl(body.decode(), strict_parsing=True, keep_blank_values=True))
    except (ValueError, AttributeError) as error:
        raise OAuthRefusal("invalid_request", "The request body is malformed.") from error
    for name, value in given.items():
        if not isinstance(value, str):
            raise OAuthRefusal("invalid_request", f'Invalid value for "{name}".')
    return given


def _snake_case(name: str) -> str:
    return re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name)


def _check_kinds(parameters: Mapping[str, str]) -> None:
    if parameters.get("grant_type") != GRANT:
        raise OAuthRefusal("unsupported_grant_type", f'Invalid value for "grant_type". It must be "{GRANT}".')
    if parameters.get("requested_token_type") != _ACCESS_TOKEN:
        raise OAuthRefusal("invalid_request", 'Invalid value for "requested_token_type".')
    if parameters.get("subject_token_type") not in _SUBJECT_TYPES:
        raise OAuthRefusal("invalid_request", 'Invalid value for "subject_token_type".')
    if not parameters.get("subject_token"):
        raise OAuthRefusal("invalid_request", 'Invalid value for "subject_token".')


def _scopes(text: str) -> frozenset[str]:
    scopes = text.split()
    if not scopes or not all(map(_SCOPE.fullmatch, scopes)):
        raise OAuthRefusal("invalid_scope", 'Invalid value for "scope".')
    return frozenset(scopes)

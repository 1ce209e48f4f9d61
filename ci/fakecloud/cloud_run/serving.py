"""Requests at a service's addresses: let in, split by the traffic list, counted."""

import hashlib
import time
from dataclasses import dataclass, field

import jwt
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from fakecloud.cloud_run import request_log
from fakecloud.cloud_run.admin_api import base
from fakecloud.cloud_run.instance_client import Answer, InstanceFailed, Upstream
from fakecloud.cloud_run.resources import SERVED, Revision, Service, State
from fakecloud.identity.iam import Credentials
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Ledger
from fakecloud.state.policy import INVOKE, ServiceAccount, allows
from fakecloud.state.refusals import PlainRefusal

_ISSUER = "https://accounts.google.com"
_FORBIDDEN = "Your client does not have permission to get URL from this server.\n"
# Of one connection, or said anew by this one.
_KEPT_HERE = frozenset(
    (
        *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host"),
        *(b"content-length", b"date", b"server", b"expect"),
    )
)


@dataclass
class Serving:
    """Front end of all services; `verified` has audience, address and end of tokens by their hash."""

    setup: CloudSetup
    ledger: Ledger
    state: State
    credentials: Credentials
    upstream: Upstream = field(default_factory=Upstream)
    verified: dict[str, tuple[str, str, float]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a revision answer at a service's path: Google's have host names of their own.

        It gets hundreds of requests a second, so that no routing and nothing else stands before it.
        """
        host, _, path = scope["path"].removeprefix(f"{SERVED}/").partition("/")
        tag, _, name = host.rpartition("---")
        request = Request(scope, receive)
        try:
            service = self._service(name)
            self._let_in(request, service)
            revision = _chosen(service, tag)
        except PlainRefusal as refusal:
            return await refusal.response()(scope, receive, send)
        started = time.monotonic()
        answer = await self._answer(request, revision, f"/{path}")
        taken = request_log.Request(self.ledger.clock.google(), answer.status, time.monotonic() - started)
        self.state.counts.add(revision.name, taken)
        headers = [pair for pair in answer.headers if pair[0] not in _KEPT_HERE]
        headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(answer.body)})

    def _service(self, name: str) -> Service:
        for service in self.state.services.values():
            if service.name == name:
                return service
        raise _not_found()

    def _let_in(self, request: Request, service: Service) -> None:
        """Refuse a caller without an ID token for this service, or without the right to invoke it."""
        if service.message.invoker_iam_disabled:
            return
        _, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            raise PlainRefusal(403, _FORBIDDEN)
        audience, email = self._verify_token(token)
        if audience != f"{base(request)}{SERVED}/{service.name}":
            raise _unauthorized_error()
        project = service.message.name.partition("/locations")[0]
        if not allows(self.setup, ServiceAccount(email), INVOKE, project):
            raise PlainRefusal(403, _FORBIDDEN)

    def _verify_token(self, token: str) -> tuple[str, str]:
        """Return whom a good token is for, and whose it is; refuse any other."""
        key = hashlib.sha256(token.encode()).hexdigest()
        if key not in self.verified:
            try:
                keys = {each["kid"]: each for each in self.credentials.ring.jwks()["keys"]}
                signed = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
                claims = jwt.decode(token, signed, ["RS256"], options={"verify_aud": False}, issuer=_ISSUER)
            except (jwt.InvalidTokenError, LookupError) as error:
                raise _unauthorized_error() from error
            self.verified[key] = (claims["aud"], claims.get("email", ""), claims["exp"])
        audience, email, expires = self.verified[key]
        if expires < self.ledger.clock.google():
            raise _unauthorized_error()
        return audience, email

    async def _answer(self, request: Request, revision: Revision, path: str) -> Answer:
        query = f"?{request.url.query}" if request.url.query else ""
        own = {*_KEPT_HERE, b"authorization"}
        headers = [pair for pair in request.scope["headers"] if pair[0] not in own]
        body = await request.body()
        try:
            return await self.upstream.send(revision.instance, request.method, path + query, headers, body)
        except InstanceFailed as error:
            text = f"The request failed because the instance failed: {error}\n"
            return Answer(503, [], bytearray(text.encode()))


def _not_found() -> PlainRefusal:
    return PlainRefusal(404, "Page not found\n")


def _chosen(service: Service, tag: str) -> Revision:
    """Return whose turn it is among those who have a part, or a tag's revision."""
    if tag:
        named = [part.revision for part in service.serving if part.tag == tag]
        if not named:
            raise _not_found()
        return service.revisions[named[0]]
    parts = {part.revision: part.percent for part in service.serving if part.percent}
    if not parts:
        raise _not_found()
    return service.revisions[turn(parts, service.turns)]


def turn(parts: dict[str, int], turns: dict[str, int]) -> str:
    """Return whose turn it is, and note it: in any 100 turns each has its percent, evenly spread.

    Each gains its part at every turn, and who has most takes the turn for the sum of all (the smooth weighted
    round robin of nginx).
    """
    for name, part in parts.items():
        turns[name] = turns.get(name, 0) + part
    chosen = max(parts, key=lambda name: turns[name])
    turns[chosen] -= sum(parts.values())
    return chosen


def _unauthorized_error() -> PlainRefusal:
    text = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
    return PlainRefusal(401, "Unauthorized\n", {"WWW-Authenticate": text})

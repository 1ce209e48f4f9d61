"""Requests at a service's addresses: let in, split by the traffic list, counted."""

import hashlib
import time
from dataclasses import dataclass, field

import httpx
import jwt
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rehearsal.iam import Credentials
from rehearsal.ledger import Ledger
from rehearsal.policy import INVOKE, ServiceAccount, allows
from rehearsal.refusals import PlainRefusal
from rehearsal.run import counts
from rehearsal.run.api import base
from rehearsal.run.state import SERVED, Revision, Service, State
from rehearsal.world import World

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_ISSUER = "https://accounts.google.com"
# Of one connection, or said anew by this one.
_KEPT_HERE = frozenset(
    (
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"),
        *("content-length", "content-encoding", "accept-encoding", "date", "server"),
    )
)


@dataclass
class Serving:
    """The front end of all services; `verified` has audience, address and end of tokens by their hash."""

    world: World
    ledger: Ledger
    state: State
    credentials: Credentials
    http: httpx.AsyncClient
    verified: dict[str, tuple[str, str, float]] = field(default_factory=dict)

    @property
    def routes(self) -> list[Route]:
        """Return what is served at the root: Google's have host names of their own."""
        return [Route(f"{SERVED}/{{host}}/{{path:path}}", self.serve, methods=_METHODS)]

    async def serve(self, request: Request) -> Response:
        """Have a revision answer."""
        tag, _, name = request.path_params["host"].rpartition("---")
        service = next((each for each in self.state.services.values() if each.name == name), None)
        if service is None:
            raise PlainRefusal(404, "Page not found\n")
        self._let_in(request, service)
        revision = _chosen(service, tag)
        if revision is None:
            raise PlainRefusal(404, "Page not found\n")
        started = time.monotonic()
        answer = await self._answer(request, revision)
        counted = counts.Request(self.ledger.clock.google(), answer.status_code, time.monotonic() - started)
        self.state.counts.add(revision.name, counted)
        return answer

    def _let_in(self, request: Request, service: Service) -> None:
        """Refuse whoever has no ID token for this service, or may not invoke it; a public one lets in all."""
        if service.message.invoker_iam_disabled:
            return
        _, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            raise PlainRefusal(403, "Your client does not have permission to get URL from this server.\n")
        audience, email = self._verified(token)
        if audience != f"{base(request)}{SERVED}/{service.name}":
            raise _unauthorized()
        if not allows(
            self.world, ServiceAccount(email), INVOKE, service.message.name.partition("/locations")[0]
        ):
            raise PlainRefusal(403, "Your client does not have permission to get URL from this server.\n")

    def _verified(self, token: str) -> tuple[str, str]:
        """Return whom a good token is for, and whose it is; refuse any other."""
        key = hashlib.sha256(token.encode()).hexdigest()
        if key not in self.verified:
            try:
                keys = {each["kid"]: each for each in self.credentials.ring.jwks()["keys"]}
                signed = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
                claims = jwt.decode(token, signed, ["RS256"], options={"verify_aud": False}, issuer=_ISSUER)
            except (jwt.InvalidTokenError, LookupError) as error:
                raise _unauthorized() from error
            self.verified[key] = (claims["aud"], claims.get("email", ""), claims["exp"])
        audience, email, expires = self.verified[key]
        if expires < self.ledger.clock.google():
            raise _unauthorized()
        return audience, email

    async def _answer(self, request: Request, revision: Revision) -> Response:
        path = request.path_params["path"]
        query = f"?{request.url.query}" if request.url.query else ""
        headers = [pair for pair in request.headers.items() if pair[0] not in {*_KEPT_HERE, "authorization"}]
        try:
            answer = await self.http.request(
                request.method,
                f"{revision.instance}/{path}{query}",
                headers=headers,
                content=await request.body(),
            )
        except httpx.TransportError as error:
            return Response(f"The request failed because the instance failed: {error!r}\n", 503)
        kept = {name: value for name, value in answer.headers.items() if name not in _KEPT_HERE}
        return Response(answer.content, answer.status_code, headers=kept)


def _chosen(service: Service, tag: str) -> Revision | None:
    """Return whose turn it is among those who have a part, or a tag's revision."""
    if tag:
        named = [part.revision for part in service.serving if part.tag == tag]
        return service.revisions[named[0]] if named else None
    parts = {part.revision: part.percent for part in service.serving if part.percent}
    if not parts:
        return None
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


def _unauthorized() -> PlainRefusal:
    told = 'Bearer error="invalid_token" error_description="The access token could not be verified"'
    return PlainRefusal(401, "Unauthorized\n", {"WWW-Authenticate": told})

"""GitHub's part: the endpoint that issues a job's identity token, and the keys that verify it.

The shapes are those of actions/toolkit and of GitHub's OIDC reference. What the real endpoint says in a
401's body is not documented; clients must not depend on it.
"""

import secrets
from dataclasses import dataclass, field, replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.identity.iam import read_content
from fakecloud.identity.keys import KeyRing
from fakecloud.state import control_key
from fakecloud.state.fixtures import CloudSetup, Job
from fakecloud.state.ledger import Clock
from fakecloud.state.refusals import PlainRefusal

# exp and nbf around iat, as in the tokens that GitHub's documentation shows.
_LIFETIME, _BACKDATED = 300, 600


@dataclass
class GitHub:
    """The identity provider of one job."""

    setup: CloudSetup
    clock: Clock
    ring: KeyRing = field(default_factory=KeyRing)
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the setup's job."""
        self.job = self.setup.job

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the issuer's address."""
        return [
            Route("/idtoken", self.identity),
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/.well-known/jwks", self.jwks),
        ]

    @property
    def control(self) -> list[Route]:
        """Return what is served to a rehearsal."""
        return [Route("/runs", self.start_run, methods=["POST"])]

    async def identity(self, request: Request) -> Response:
        """Respond to a job's request for its identity token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = secrets.compare_digest(token.encode(), self.setup.request_token.encode())
        if scheme.lower() != "bearer" or not known:
            raise PlainRefusal(401, "the request token is missing or not this job's\n")
        audience = request.query_params.get("audience") or f"https://github.com/{self.job.owner}"
        value = await run_in_threadpool(self.token, audience)
        return JSONResponse({"count": len(value), "value": value})

    async def start_run(self, request: Request) -> Response:
        """Run another job from now on: what is said of it replaces the setup's job."""
        control_key.check(request, self.setup.control_key)
        kinds = dict.fromkeys(("ref", "commit", "environment", "event", "workflow"), str)
        self.job = replace(self.setup.job, **read_content(await request.body(), kinds))
        return Response(status_code=204)

    def token(self, audience: str) -> str:
        """Return a signed token with the job's claims."""
        now = int(self.clock.here())
        times = {"iat": now, "nbf": now - _BACKDATED, "exp": now + _LIFETIME}
        issued = {"iss": self.setup.issuer, "aud": audience, "jti": secrets.token_hex(16)}
        claims = {**self.job.claims, **issued, **times}
        return self.ring.sign(claims, now=now, until=times["exp"])

    async def discovery(self, request: Request) -> Response:
        """Answer with the issuer's metadata; the key set is at the fake cloud's own address."""
        jwks = str(request.url).removesuffix("openid-configuration") + "jwks"
        return JSONResponse(
            {
                "issuer": self.setup.issuer,
                "jwks_uri": jwks,
                "subject_types_supported": ["public", "pairwise"],
                "response_types_supported": ["id_token"],
                "claims_supported": ["aud", "exp", "iat", "iss", "jti", "nbf", *self.job.claims],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
            }
        )

    async def jwks(self, request: Request) -> Response:
        """Answer with the keys in use."""
        return JSONResponse(self.ring.jwks())

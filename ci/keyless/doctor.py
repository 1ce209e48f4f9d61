"""Checks of every step of a release before anything is built.

Each check is a step that a release takes, or a setting that it relies on, tried by itself. It returns its
finding, or raises a GoogleError, whose message ends with the command that fixes it.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from conditions.attribute_condition import Condition
from errors import GoogleError, InvalidCondition, NoAnswer, NotReady, PlatformRefused
from image.conformance import PLATFORM, check_machine
from keyless.artifact_repository import ArtifactRepository
from keyless.federation import Federation
from keyless.google_identity import Identity, advice_names, recommend_condition
from net.http_responses import describe_response, document
from net.retry_policy import Retrying, skew
from net.tokens import Token

_NEEDED = frozenset(
    f"artifactregistry.repositories.{what}" for what in ("downloadArtifacts", "uploadArtifacts")
)
_SHOWN = (
    "iss",
    "sub",
    "repository",
    "repository_id",
    "repository_owner_id",
    "ref_type",
    "ref",
    "runner_environment",
)
_TOLERANCE = 60  # seconds that Google's clock may differ from an issuer's


@dataclass(frozen=True)
class CheckResult:
    """Result of a check; `good` is None when the check was skipped."""

    check: str
    good: bool | None
    came: str

    def __str__(self) -> str:
        mark = {True: "ok", False: "NO", None: "--"}[self.good]
        return f"{mark}  {self.check}: {self.came}"


@dataclass(frozen=True)
class Signer:
    """Signing services, and the repository that has to sign releases; without one, any signer will do."""

    services: Sequence[str] = ()
    repository_id: str | None = None
    owner_id: str | None = None


class Doctor:
    """Checks one release's identity, registry and signature."""

    def __init__(
        self,
        identity: Identity,
        registry: str,
        client: Retrying,
        condition: str | None = None,
        machine: str = PLATFORM,
        signer: Signer | None = None,
    ) -> None:
        """Check through a client; a condition is the provider's own, setup-google's when it is not known.

        The machine is the platform that the engine runs on.
        """
        self._machine, self._signer = machine, signer or Signer()
        self._identity, self._registry, self._client = identity, registry, client
        self._condition = Condition.parse(condition) if condition else None
        self._federation = Federation(identity, client)
        self._claims: dict[str, object] = {}
        self._accepted = False
        self._skews: dict[str, float] = {}

    async def examine(self) -> list[CheckResult]:
        """Return what comes of every check; those that build on one that failed are not made."""
        self._client.http.event_hooks = {"response": [self._note_clock]}
        findings: dict[str, CheckResult] = {}
        for check, (step, needed) in self._checks().items():
            wanting = [each for each in needed if not findings[each].good]
            if wanting:
                findings[check] = CheckResult(check, None, f"skipped: requires {wanting[0]}")
            else:
                findings[check] = await _run_check(check, step)
        return list(findings.values())

    def _checks(self) -> dict[str, tuple[Callable[[], Awaitable[str | CheckResult]], tuple[str, ...]]]:
        return {
            "identity": (self.identity, ()),
            "claims": (self.claims, ("identity",)),
            "token exchange": (self.exchange, ("identity",)),
            "audience": (self.audience, ("identity",)),
            "condition": (self.condition, ("identity",)),
            "impersonation": (self.impersonation, ("token exchange",)),
            "registry": (self.registry, ()),
            "permissions": (self.permissions, ("registry", "impersonation")),
            "immutable tags": (self.immutable_tags, ("registry", "impersonation")),
            "platform": (self.platform, ()),
            "signer": (self.signer, ("identity",)),
            "Sigstore": (self.sigstore, ("identity",)),
            "clock": (self.clock, ()),
        }

    async def identity(self) -> str:
        """Check that there is an identity token."""
        self._claims = (await self._federation.identity_token()).claims()
        return f"a token of {self._claims['iss']}"

    async def claims(self) -> str:
        """Check that the token's time has not run out."""
        shown = ", ".join(f"{name}={self._claims[name]!r}" for name in _SHOWN if name in self._claims)
        expires = self._claims.get("exp")
        if isinstance(expires, int) and expires < time.time():
            problem = f"{shown}: the ID Token expired {time.time() - max(expires, 0):.0f} s ago"
            raise self._not_ready(problem)
        return shown

    async def exchange(self) -> str:
        """Check that the Security Token Service takes the identity token."""
        await self._federation.federated_token()
        self._accepted = True
        return f"{self._identity.provider.resource} accepts the identity"

    async def audience(self) -> str:
        """Check whom the token is for, unless it has been accepted anyway."""
        given, expected = self._claims["aud"], self._identity.provider.audience
        if self._accepted or expected in (given if isinstance(given, list) else [given]):
            return f"{given}"
        problem = f"the audience in ID Token is {given!r}, not {expected!r}"
        raise self._not_ready(problem)

    async def condition(self) -> str:
        """Check which clause of the condition fails, which none does if the token was accepted."""
        try:
            condition = self._condition or recommend_condition(self._claims)
        except InvalidCondition:
            return "not known for this issuer; pass --condition to have its clauses checked"
        failing = condition.verdict(self._claims)
        if not failing:
            return f"{condition} holds"
        if self._accepted:
            return f"the provider's is true, though not all of setup-google's would be: {failing}"
        problem = f"{failing}; Google answers: rejected by the attribute condition"
        raise self._not_ready(problem)

    async def impersonation(self) -> str:
        """Check that IAM gives the service account's token, when there is a service account."""
        await self._federation.access_token()
        return self._identity.service_account or "none, the federated identity works by itself"

    async def registry(self) -> str:
        """Check that the address is a registry which requires authentication."""
        self._place = place = ArtifactRepository.of(self._registry)
        address = self._identity.endpoints.registry(place.host)
        answer = await self._client.send(self._client.http.build_request("GET", f"{address}/v2/"))
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status_code != 401 or not challenge.startswith("Bearer "):
            raise NotReady(
                f"{place.host} answered {answer.status_code} where a registry requires a token\n"
                "  fix: pass --registry=LOCATION-docker.pkg.dev/PROJECT/REPOSITORY"
            )
        return f"{place.host} requires a token"

    async def permissions(self) -> str:
        """Check that the token may push and pull there."""
        body = {"permissions": sorted(_NEEDED)}
        answer = await self._artifacts("POST", f"{self._place.path}:testIamPermissions", body)
        missing = _NEEDED - set(answer.get("permissions", []))
        if missing:
            problem = f"{self._place} denies {', '.join(sorted(missing))}"
            raise self._not_ready(problem, **self._place.names)
        return f"may push to and pull from {self._place}"

    async def immutable_tags(self) -> str:
        """Check that a tag, once pushed, stays what it is."""
        place = self._place
        repository = await self._artifacts("GET", place.path)
        if not repository.get("dockerConfig", {}).get("immutableTags"):
            raise NotReady(
                f"{place.repository} lets tags move, so that a release could change\n"
                f"  fix: gcloud artifacts repositories update {place.repository} --location={place.location} "
                f"--project={place.project} --immutable-tags"
            )
        return f"{place.repository} keeps them"

    async def signer(self) -> str | CheckResult:
        """Check that the policy for signatures names this job's repository."""
        demanded = (self._signer.repository_id, self._signer.owner_id)
        said = tuple(self._claims.get(name) for name in ("repository_id", "repository_owner_id"))
        if demanded == (None, None):
            return CheckResult(
                "signer",
                None,
                "deploy/environments.toml has no table [signature], so that everybody who may push to the "
                "registry can have an image deployed\n  fix: dagger call setup-google # prints the table",
            )
        if demanded != said:
            raise NotReady(
                f"[signature] in deploy/environments.toml demands repository {demanded[0]} of owner "
                f"{demanded[1]}, and the token is of repository {said[0]} of owner {said[1]}\n"
                "  fix: dagger call setup-google # prints the table"
            )
        return f"repository {demanded[0]} of owner {demanded[1]} has to sign"

    async def sigstore(self) -> str | CheckResult:
        """Check that a job which signs has a token for that, and reaches Sigstore's services."""
        demanded = self._signer.repository_id is not None
        if not demanded and self._claims.get("repository_visibility") != "public":
            return CheckResult("Sigstore", None, "not checked: this repository need not sign")
        if not self._identity.given.url:
            problem = "the CI system issues no token for Sigstore on request"
            return CheckResult("Sigstore", None, self._not_ready(problem).message)
        for url in self._signer.services:
            await self._reach(url)
        return f"{', '.join(self._signer.services)} answer"

    async def _reach(self, url: str) -> None:
        try:
            answer = await self._client.send(self._client.http.build_request("GET", url))
            problem = f"{url} answered {answer.status_code}" if answer.is_server_error else ""
        except NoAnswer as error:
            problem = f"{url} is unreachable: {error.problem}"
        if problem:
            raise self._not_ready(problem)

    async def platform(self) -> str:
        """Check that the engine runs on the platform that releases are for."""
        try:
            check_machine(self._machine)
        except PlatformRefused as error:
            raise NotReady(error.message) from error
        return f"{self._machine}, without emulation"

    async def clock(self) -> str:
        """Check this machine's clock against everyone's that answered."""
        off = {host: seconds for host, seconds in self._skews.items() if abs(seconds) > _TOLERANCE}
        if off:
            differences = ", ".join(f"{host} is {seconds:+.0f} s" for host, seconds in off.items())
            raise NotReady(f"{differences} from this machine's clock\n  fix: timedatectl set-ntp true")
        return f"within {_TOLERANCE} s of {', '.join(self._skews) or 'no server: none responded'}"

    async def _artifacts(
        self, method: str, path: str, body: dict[str, list[str]] | None = None
    ) -> dict[str, Any]:
        token: Token = await self._federation.access_token()
        request = self._client.http.build_request(
            method,
            self._identity.endpoints.artifactregistry + path,
            headers={"Authorization": token.authorization()},
            json=body,
        )
        answer = await self._client.send(request)
        if answer.status_code != 200:
            problem = f"artifactregistry: {method} {path} answered {describe_response(answer, token)}"
            raise self._not_ready(problem, **self._place.names)
        return document(answer)

    def _not_ready(self, problem: str, **names: str) -> NotReady:
        return NotReady(problem, self._claims, **advice_names(self._identity, self._claims) | names)

    async def _note_clock(self, answer: httpx.Response) -> None:
        if (seconds := skew(answer)) is not None:
            self._skews[answer.url.host] = seconds


async def _run_check(check: str, step: Callable[[], Awaitable[str | CheckResult]]) -> CheckResult:
    try:
        came = await step()
        return came if isinstance(came, CheckResult) else CheckResult(check, True, came)
    except GoogleError as error:
        return CheckResult(check, False, error.message)


def report(findings: list[CheckResult]) -> str:
    """Return the findings as a text; raises NotReady with that text when one of them is bad."""
    text = "\n".join(map(str, findings))
    bad = [finding.check for finding in findings if finding.good is False]
    if bad:
        raise NotReady(f"{text}\na release would fail: {', '.join(bad)}")
    return f"{text}\na release would work"

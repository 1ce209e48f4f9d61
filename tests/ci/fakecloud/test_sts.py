"""The fake Security Token Service: token exchange, and every refusal in Google's words."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette

from fakecloud.fake_app import respond_to_refusal
from fakecloud.identity.attribute_mapping import Evaluator
from fakecloud.identity.github import GitHub
from fakecloud.identity.sts import GRANT, TokenService
from fakecloud.state.fixtures import GITHUB, CloudSetup, Job, Provider
from fakecloud.state.ledger import Clock, Ledger
from fakecloud.state.policy import Federated
from fakecloud.state.refusals import Refusal

pytestmark = pytest.mark.anyio

REJECTED = "The given credential is rejected by the attribute condition."
NO_ISSUER = "Error connecting to the given credential's issuer."
NO_TARGET = (
    'The target service indicated by the "audience" parameters is invalid. This might either be because '
    "the pool or provider is disabled or deleted or because it doesn't exist."
)
Change = Callable[[dict[str, Any]], object]


@dataclass
class Exchange:
    """A job's identity, and the service that it is shown to."""

    setup: CloudSetup
    ledger: Ledger
    github: GitHub

    @classmethod
    def of(cls, setup: CloudSetup, ahead: float = 0) -> "Exchange":
        """Return an exchange whose identity provider's clock is ahead of Google's."""
        ledger = Ledger(Clock(ahead))
        return cls(setup, ledger, GitHub(setup, ledger.clock))

    @property
    def audience(self) -> str:
        return f"https://iam.googleapis.com/{self.setup.provider.resource}"

    def request(self, token: str | None = None) -> dict[str, str]:
        return {
            "grant_type": GRANT,
            "audience": f"//iam.googleapis.com/{self.setup.provider.resource}",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": token or self.github.token(self.audience),
        }

    def sign_changed(self, change: Change) -> str:
        """Return a token that the issuer signed though its claims are changed."""
        claims = jwt.decode(self.github.token(self.audience), options={"verify_signature": False})
        change(claims)
        present = {name: value for name, value in claims.items() if value is not None}
        return self.github.ring.sign(present, now=time.time(), until=time.time() + 60)

    async def post(self, request: dict[str, str] | None = None, **sent: Any) -> httpx.Response:
        evaluator = Evaluator.of(self.setup.provider)
        service = TokenService(self.setup, self.ledger, self.github.ring, evaluator)
        app = Starlette(routes=service.routes, exception_handlers={Refusal: respond_to_refusal})
        sent = sent or {"data": request or self.request()}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sts") as http:
            return await http.post("/v1/token", **sent)

    async def refusal(self, request: dict[str, str] | None = None, **sent: Any) -> tuple[str, str]:
        """Return the error and its description; no token may be given out."""
        answer = await self.post(request, **sent)
        assert (answer.status_code, self.ledger.grants) == (400, {})
        assert answer.json().keys() == {"error", "error_description"}
        return answer.json()["error"], answer.json()["error_description"]


@pytest.fixture
def exchange(setup: CloudSetup) -> Exchange:
    """Return an exchange in the usual setup."""
    return Exchange.of(setup)


def with_job(setup: CloudSetup, **changes: str) -> CloudSetup:
    return replace(setup, job=replace(setup.job, **changes))


def with_provider(setup: CloudSetup, **changes: Any) -> CloudSetup:
    return replace(setup, provider=replace(setup.provider, **changes))


async def test_a_token_is_exchanged_for_one_that_lasts_as_long(exchange: Exchange) -> None:
    answer = await exchange.post()
    body = answer.json()
    assert (answer.status_code, body["token_type"]) == (200, "Bearer")
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert 0 < body["expires_in"] <= 300
    assert len(body["access_token"]) < 12288


async def test_the_principal_has_the_mapped_subject_and_attributes(exchange: Exchange) -> None:
    token = (await exchange.post()).json()["access_token"]
    grant = exchange.ledger.live(token)
    assert grant is not None
    assert isinstance(grant.principal, Federated)
    assert grant.principal.subject == "2002:1"
    assert grant.principal.attributes["repository_id"] == "2002"
    assert token not in repr(exchange.ledger)


async def test_json_is_taken_as_well_as_a_form(exchange: Exchange) -> None:
    names = {"grant_type": "grantType", "subject_token": "subjectToken", "scope": "scope"}
    names |= {"requested_token_type": "requestedTokenType", "subject_token_type": "subjectTokenType"}
    request = {names.get(name, name): value for name, value in exchange.request().items()}
    assert (await exchange.post(json=request)).status_code == 200


async def test_an_hour_is_the_longest(exchange: Exchange) -> None:
    token = exchange.sign_changed(lambda claims: claims.update(exp=claims["iat"] + 86400))
    assert (await exchange.post(exchange.request(token))).json()["expires_in"] == 3600


async def test_a_token_is_still_good_in_the_minute_after_it_expired(setup: CloudSetup) -> None:
    assert (await Exchange.of(setup, ahead=-330).post()).status_code == 200


async def test_rotated_keys_verify_the_tokens_that_they_signed(exchange: Exchange) -> None:
    tokens = [exchange.github.token(exchange.audience) for _ in range(7)]
    names = {jwt.get_unverified_header(token)["kid"] for token in tokens}
    answers = [await exchange.post(exchange.request(token)) for token in tokens]
    assert (len(names), [answer.status_code for answer in answers]) == (3, [200] * 7)


@pytest.mark.parametrize(
    ("name", "value", "error", "description"),
    [
        ("grant_type", None, "unsupported_grant_type", 'Invalid value for "grant_type"'),
        ("grant_type", "authorization_code", "unsupported_grant_type", 'Invalid value for "grant_type"'),
        ("requested_token_type", None, "invalid_request", 'Invalid value for "requested_token_type"'),
        ("requested_token_type", "jwt", "invalid_request", 'Invalid value for "requested_token_type"'),
        ("subject_token_type", None, "invalid_request", 'Invalid value for "subject_token_type"'),
        ("subject_token_type", "saml2", "invalid_request", 'Invalid value for "subject_token_type"'),
        ("subject_token", None, "invalid_request", 'Invalid value for "subject_token"'),
        ("subject_token", "no.jwt", "invalid_grant", "Unable to parse the ID Token."),
        ("scope", None, "invalid_scope", 'Invalid value for "scope"'),
        ("scope", "cloud-platform", "invalid_scope", 'Invalid value for "scope"'),
        ("audience", None, "invalid_request", 'Invalid value for "audience". This value should be'),
        ("audience", "https:%s", "invalid_request", 'Invalid value for "audience". This value should be'),
    ],
)
async def test_a_missing_or_wrong_parameter_is_refused(
    exchange: Exchange, name: str, value: str | None, error: str, description: str
) -> None:
    request = exchange.request()
    given = value.replace("%s", request[name]) if value else value
    changed = {**request, name: given} if given else {key: request[key] for key in request if key != name}
    found = await exchange.refusal({key: text for key, text in changed.items() if text})
    assert (found[0], found[1][: len(description)]) == (error, description)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("/providers/milestone2", "", "invalid_request"),
        ("projects/123456789012", "projects/rehearsal-project", "invalid_request"),
        ("projects/123456789012", "projects/210987654321", "invalid_target"),
        ("workloadIdentityPools/github", "workloadIdentityPools/gitlab", "invalid_target"),
        ("providers/milestone2", "providers/milestone-2", "invalid_target"),
    ],
)
async def test_an_audience_that_names_no_provider_is_refused(
    exchange: Exchange, old: str, new: str, error: str
) -> None:
    request = exchange.request()
    found = await exchange.refusal(request | {"audience": request["audience"].replace(old, new)})
    assert found[0] == error
    assert error == "invalid_request" or found[1] == NO_TARGET


async def test_a_disabled_provider_is_no_target(setup: CloudSetup) -> None:
    disabled = Exchange.of(with_provider(setup, enabled=False))
    assert await disabled.refusal() == ("invalid_target", NO_TARGET)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("application/json", b"{"), ("application/json", b"[]"), ("application/x-www-form-urlencoded", b"x")],
)
async def test_a_malformed_body_is_refused(exchange: Exchange, kind: str, body: bytes) -> None:
    error, _ = await exchange.refusal(content=body, headers={"Content-Type": kind})
    assert error == "invalid_request"


async def test_json_that_is_no_text_is_refused(exchange: Exchange) -> None:
    error, description = await exchange.refusal(json={"grantType": 1})
    assert (error, description) == ("invalid_request", 'Invalid value for "grant_type".')


async def test_another_issuer_is_refused_with_both_named(setup: CloudSetup) -> None:
    enterprise = "https://github.example.com/_services/token"
    assert await Exchange.of(replace(setup, issuer=enterprise)).refusal() == (
        "invalid_grant",
        f"The issuer in ID Token {enterprise} does not match the expected one in config: {GITHUB}.",
    )


async def test_another_audience_is_refused_with_that_one_named(exchange: Exchange) -> None:
    token = exchange.github.token("https://github.com/rehearsal")
    assert await exchange.refusal(exchange.request(token)) == (
        "invalid_grant",
        "The audience in ID Token [https://github.com/rehearsal] does not match the expected audience.",
    )


async def test_the_usual_audience_is_refused_where_others_are_set(setup: CloudSetup) -> None:
    error, description = await Exchange.of(with_provider(setup, audiences=("release",))).refusal()
    assert (error, description[:26]) == ("invalid_grant", "The audience in ID Token [")


async def test_a_changed_signature_is_refused(exchange: Exchange) -> None:
    head, claims, signature = exchange.request()["subject_token"].split(".")
    forged = f"{head}.{claims}.{signature[:9]}{'A' if signature[9] != 'A' else 'B'}{signature[10:]}"
    assert await exchange.refusal(exchange.request(forged)) == (
        "invalid_grant",
        "Unable to verify the ID Token signature.",
    )


@pytest.mark.parametrize(
    ("known", "description"), [(True, "Unable to verify the ID Token signature."), (False, NO_ISSUER)]
)
async def test_another_key_is_refused_under_a_known_name_or_its_own(
    exchange: Exchange, known: bool, description: str
) -> None:
    real = exchange.request()["subject_token"]
    name = jwt.get_unverified_header(real)["kid"] if known else "mine"
    claims = jwt.decode(real, options={"verify_signature": False})
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(claims, mine, "RS256", headers={"kid": name})
    assert await exchange.refusal(exchange.request(forged)) == ("invalid_grant", description)


async def test_an_unsigned_token_is_refused(exchange: Exchange) -> None:
    claims = jwt.decode(exchange.request()["subject_token"], options={"verify_signature": False})
    token = jwt.encode(claims, "", "none")
    assert await exchange.refusal(exchange.request(token)) == ("invalid_grant", NO_ISSUER)


@pytest.mark.parametrize("ahead", [90, -400], ids=["not yet valid", "expired"])
async def test_a_token_out_of_its_time_is_stale(setup: CloudSetup, ahead: float) -> None:
    error, description = await Exchange.of(setup, ahead).refusal()
    assert (error, description[:19], description[-21:]) == (
        "invalid_grant",
        "ID Token issued at ",
        " is stale to sign-in.",
    )


@pytest.mark.parametrize(
    ("claim", "value", "error", "description"),
    [
        ("iss", None, "invalid_grant", "The issuer in ID Token null does not match the expected one in"),
        ("aud", None, "invalid_grant", "The audience in ID Token [] does not match the expected audience."),
        ("aud", ["a", "b"], "invalid_grant", "The audience in ID Token [a, b] does not match"),
        ("iat", None, "invalid_grant", "ID Token issued at null is stale to sign-in."),
        ("exp", None, "invalid_grant", "ID Token issued at "),
        ("iat", "today", "invalid_grant", "ID Token issued at today is stale to sign-in."),
        ("nbf", 10**18, "invalid_grant", "ID Token issued at "),
        ("exp", 4_102_444_800, "invalid_grant", "ID Token issued at "),  # the year 2100
        ("exp", 10**400, "invalid_grant", "ID Token issued at "),
        ("exp", 1e999, "invalid_grant", "ID Token issued at "),
        ("iat", -(10**400), "invalid_grant", "ID Token issued at -1000"),
        (
            "aud",
            [["a"], {"b": 1}],
            "invalid_grant",
            "The audience in ID Token [['a'], {'b': 1}] does not match",
        ),
        ("aud", {"a": "b"}, "invalid_grant", "The audience in ID Token [{'a': 'b'}] does not match"),
        ("aud", 7, "invalid_grant", "The audience in ID Token [7] does not match the expected audience."),
        ("actor_id", 10**30, "invalid_grant", "Unable to parse the ID Token."),
        ("repository_id", None, "unauthorized_client", REJECTED),
        ("repository_id", 2002, "unauthorized_client", REJECTED),
        ("ref", None, "unauthorized_client", REJECTED),
        ("run_id", None, "unauthorized_client", "Could not obtain a value for google.subject from the"),
        ("run_id", "1" * 123, "invalid_request", "The size of mapped attribute google.subject exceeds"),
    ],
)
async def test_a_claim_that_is_missing_or_wrong_is_refused(
    exchange: Exchange, claim: str, value: object, error: str, description: str
) -> None:
    token = exchange.sign_changed(lambda claims: claims.update({claim: value}))
    found = await exchange.refusal(exchange.request(token))
    assert (found[0], found[1][: len(description)]) == (error, description)


@pytest.mark.parametrize("header", [{"alg": "RS256", "kid": ["x"]}, {"alg": ["RS256"]}, []], ids=str)
async def test_a_header_of_other_kinds_is_refused(exchange: Exchange, header: object) -> None:
    _, payload, signature = exchange.github.token(exchange.audience).split(".")
    token = f"{encode(json.dumps(header).encode())}.{payload}.{signature}"
    assert (await exchange.refusal(exchange.request(token)))[0] == "invalid_grant"


async def test_claims_nested_without_end_are_refused(exchange: Exchange) -> None:
    header, _, signature = exchange.github.token(exchange.audience).split(".")
    token = f"{header}.{encode(b'[' * 100_000)}.{signature}"
    assert await exchange.refusal(exchange.request(token)) == (
        "invalid_grant",
        "Unable to parse the ID Token.",
    )


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


async def test_a_subject_of_127_bytes_is_taken(exchange: Exchange) -> None:
    token = exchange.sign_changed(lambda claims: claims.update(run_id="1" * (127 - len("2002:"))))
    assert (await exchange.post(exchange.request(token))).status_code == 200


async def test_the_condition_is_enforced(setup: CloudSetup) -> None:
    dispatched = with_job(setup, event="workflow_dispatch")
    assert await Exchange.of(dispatched).refusal() == ("unauthorized_client", REJECTED)


async def test_a_renamed_repository_is_still_itself(setup: CloudSetup) -> None:
    renamed = with_job(setup, owner="renamed", repository="milestone3")
    assert (await Exchange.of(renamed).post()).status_code == 200


@pytest.mark.parametrize(
    "condition",
    [
        "assertion.repository_owner == 'Rehearsal'",
        "attribute.actor == 'rehearsal'",
        "attribute.repository_id == 2002",
        "google.groups == 'x'",
        "assertion.no_such_claim == ''",
        "assertion.repository_id",
    ],
)
async def test_a_condition_that_is_false_or_fails_rejects(setup: CloudSetup, condition: str) -> None:
    exchange = Exchange.of(with_provider(setup, condition=condition))
    assert await exchange.refusal() == ("unauthorized_client", REJECTED)


@pytest.mark.parametrize(
    "condition",
    ["attribute.repository_id == '2002'", "google.subject.startsWith('2002:')", "'x' in ['x'] && true"],
)
async def test_a_condition_may_ask_for_what_is_mapped(setup: CloudSetup, condition: str) -> None:
    assert (await Exchange.of(with_provider(setup, condition=condition)).post()).status_code == 200


async def test_the_subject_of_a_long_name_is_refused_where_it_is_mapped_whole(setup: CloudSetup) -> None:
    whole = with_provider(setup, mapping={"google.subject": "assertion.sub"})
    error, description = await Exchange.of(with_job(whole, repository="m" * 90)).refusal()
    assert (error, description) == (
        "invalid_request",
        "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your "
        "attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 "
        "bytes.",
    )


@pytest.mark.parametrize("mapping", [{}, {"google.subject": "a", "attribute.A": "a"}, {"google.email": "a"}])
def test_a_mapping_that_google_would_not_take_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="attribute mapping"):
        Provider("1", "pool", "provider", "true", mapping)


def test_the_subject_names_numbers_as_github_writes_it() -> None:
    assert Job().subject == "repo:rehearsal@1001/milestone2@2002:ref:refs/tags/v1.0.0"

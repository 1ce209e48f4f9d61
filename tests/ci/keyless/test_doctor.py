"""Doctor: each check passing, and each way in which a release would fail."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from errors import InvalidCondition, NotReady
from keyless.doctor import CheckResult, Doctor, Signer, report
from keyless.oidc_sources import Given
from net.tokens import Token
from tests.ci.google_answers import ACCOUNT, AUDIENCE, Google, api_error, identity, jwt, sts_error, well

pytestmark = pytest.mark.anyio
REGISTRY = "us-docker.pkg.dev/my-project/models"
PLACE = "projects/my-project/locations/us/repositories/models"
CHECKS = ["identity", "claims", "token exchange", "audience", "condition", "impersonation"]
CHECKS += ["registry", "permissions", "immutable tags", "platform", "signer", "Sigstore", "clock"]
REJECTED = sts_error("unauthorized_client", "The given credential is rejected by the attribute condition.")


def now(**later: float) -> int:
    return int(time.time() + timedelta(**later).total_seconds())


def github(**claims: object) -> httpx.Response:
    return httpx.Response(200, json={"value": jwt(**{"exp": now(minutes=5)} | claims)})


async def examine(
    google: Google,
    account: str | None = ACCOUNT,
    registry: str = REGISTRY,
    given: Given | None = None,
    condition: str | None = None,
    signer: Signer | None = None,
) -> dict[str, CheckResult]:
    google.answers.setdefault("github.test", github())
    doctor = Doctor(identity(account, given), registry, google.client(), condition, signer=signer)
    return {finding.check: finding for finding in await doctor.examine()}


def healthy(**changed: httpx.Response | httpx.TransportError) -> Google:
    return well(**{"github": github()} | changed)


@pytest.mark.parametrize("account", [None, ACCOUNT])
async def test_all_is_well(account: str | None) -> None:
    google = healthy()
    findings = await examine(google, account)
    assert list(findings) == CHECKS
    assert report(list(findings.values())).endswith("\na release would work")
    assert google.called[-2:] == [
        "artifactregistry.projects.locations.repositories.testIamPermissions",
        "artifactregistry.projects.locations.repositories.get",
    ]
    assert str(findings["permissions"]) == f"ok  permissions: may push to and pull from {PLACE}"


async def test_a_bad_finding_ends_with_what_would_fail() -> None:
    findings = await examine(healthy(sts=REJECTED))
    with pytest.raises(
        NotReady, match=r"(?s)^ok  identity: .*\nNO  token exchange: .*\na release would fail: token"
    ):
        report(list(findings.values()))


FOUND: list[tuple[str, dict[str, httpx.Response | httpx.TransportError], str, str]] = [
    ("identity", {"github": httpx.Response(401)}, "github.test answered 401", "fix: pass --oidc-url"),
    ("claims", {"github": github(exp=now(seconds=-30))}, "the ID Token expired ", "fix: date -u"),
    ("token exchange", {"sts": REJECTED}, "unauthorized_client", "fix: gcloud iam workload-identity-pools"),
    ("token exchange", {"sts": httpx.ReadTimeout("")}, "no answer to POST /v1/token", "fix: curl -sSI"),
    ("impersonation", {"iam": httpx.Response(404)}, "empty body", "fix: gcloud iam service-accounts list"),
    (
        "registry",
        {"registry": httpx.ConnectError("Name or service not known")},
        "no answer",
        "fix: getent hosts us-d",
    ),
    (
        "registry",
        {"registry": httpx.Response(200)},
        "answered 200 where a registry requires",
        "fix: pass --registry=",
    ),
    (
        "permissions",
        {"permissions": httpx.Response(200, json={})},
        f"{PLACE} denies artifactregistry.repositories.downloadArtifacts, artifactregistry.",
        "fix: gcloud artifacts repositories add-iam-policy-binding models --location=us --project=my-project "
        f'--role=roles/artifactregistry.writer --member="serviceAccount:{ACCOUNT}"',
    ),
    (
        "permissions",
        {"permissions": api_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")},
        "answered 401 Unauthorized: UNAUTHENTICATED",
        "fix: give --service-account",
    ),
    (
        "immutable tags",
        {"repository": httpx.Response(200, json={"format": "DOCKER"})},
        "models lets tags move",
        "fix: gcloud artifacts repositories update models --location=us --project=my-project --immutable",
    ),
    (
        "immutable tags",
        {"repository": api_error(404, "NOT_FOUND", "Repository models not found")},
        "answered 404 Not Found: NOT_FOUND",
        "fix: gcloud artifacts repositories create models --location=us --project=my-project",
    ),
]


async def test_a_machine_that_would_emulate_is_found() -> None:
    nothing: Any = None
    with pytest.raises(NotReady, match=r"runs on linux/arm64 and emulates (?s:.)*fix: git tag the version"):
        await Doctor(nothing, "", nothing, machine="linux/arm64").platform()


@pytest.mark.parametrize(
    ("check", "changed", "came", "fix"), FOUND, ids=[f"{row[0]}-{row[2][:20]}" for row in FOUND]
)
async def test_what_would_fail_is_found_with_what_came_and_the_fix(
    check: str, changed: dict[str, httpx.Response | httpx.TransportError], came: str, fix: str
) -> None:
    found = (await examine(healthy(**changed)))[check]
    assert found.good is False
    assert came in found.came
    assert fix in found.came


SERVICES = ("https://fulcio.sigstore.dev", "https://rekor.sigstore.dev")
SIGNER = Signer(SERVICES, "123", "45")


def with_sigstore(**changed: httpx.Response | httpx.TransportError) -> Google:
    """Return Google with Sigstore, parts of it changed: fulcio, rekor, github."""
    google = healthy(**{name: changed.pop(name) for name in ("github",) if name in changed})
    services = {"fulcio": httpx.Response(404), "rekor": httpx.Response(200)} | changed
    google.answers |= {f"{name}.sigstore.dev": answer for name, answer in services.items()}
    return google


async def test_a_release_that_has_to_be_signed_can_be() -> None:
    found = await examine(with_sigstore(), signer=SIGNER)
    assert str(found["signer"]) == "ok  signer: repository 123 of owner 45 has to sign"
    assert str(found["Sigstore"]).startswith("ok  Sigstore: https://fulcio.sigstore.dev, https://rekor")


async def test_a_missing_policy_is_reported_and_fails_no_other_check() -> None:
    found = await examine(healthy())
    assert str(found["signer"]).startswith("--  signer: deploy/environments.toml has no table [signature]")
    assert "fix: dagger call setup-google" in found["signer"].came
    assert str(found["Sigstore"]) == "--  Sigstore: not checked: this repository need not sign"
    assert report(list(found.values())).endswith("\na release would work")


async def test_a_policy_for_another_repository_is_found() -> None:
    found = (await examine(with_sigstore(), signer=Signer(SERVICES, "7", "45")))["signer"]
    assert found.good is False
    assert "demands repository 7 of owner 45, and the token is of repository 123 of owner 45" in found.came


@pytest.mark.parametrize(
    ("changed", "came", "fix"),
    [
        (
            {"fulcio": httpx.ConnectError("refused")},
            "fulcio.sigstore.dev is unreachable",
            "//fulcio.sigstore",
        ),
        ({"rekor": httpx.ConnectTimeout("timed out")}, "rekor.sigstore.dev is unreachable", "//rekor.sig"),
        ({"rekor": httpx.Response(503)}, "https://rekor.sigstore.dev answered 503", "//rekor.sigstore.dev"),
    ],
)
async def test_a_service_of_sigstore_s_that_does_not_answer_is_found(
    changed: dict[str, httpx.Response | httpx.TransportError], came: str, fix: str
) -> None:
    google = with_sigstore(github=github(repository_visibility="public"), **changed)
    found = (await examine(google, signer=Signer(SERVICES)))["Sigstore"]
    assert found.good is False
    assert came in found.came
    assert f"fix: curl -sSI https:{fix}" in found.came


async def test_a_ci_system_that_issues_no_token_for_sigstore_is_reported() -> None:
    given = Given(None, Token(jwt(exp=now(minutes=5))))
    found = (await examine(healthy(), given=given, signer=SIGNER))["Sigstore"]
    assert found.good is None
    assert "pass --sigstore-token env:SIGSTORE_TOKEN" in found.came


async def test_checks_that_build_on_a_failed_one_are_not_made() -> None:
    google = healthy(sts=REJECTED)
    findings = await examine(google)
    assert str(findings["impersonation"]) == "--  impersonation: skipped: requires token exchange"
    assert findings["permissions"].good is None
    assert findings["registry"].good
    assert google.called == ["sts.token"]


async def test_a_clause_that_fails_is_named_with_what_to_do_instead() -> None:
    findings = await examine(healthy(github=github(ref_type="branch", ref="refs/heads/main"), sts=REJECTED))
    came = findings["condition"].came
    assert came.startswith(
        "assertion.ref_type=='tag' fails on 'branch'; "
        "assertion.ref.startsWith('refs/tags/v') fails on 'refs/heads/main'; "
    )
    assert came.endswith("fix: git tag v1.0.0 && git push origin v1.0.0")


async def test_a_provider_s_own_condition_is_checked_when_it_is_known() -> None:
    findings = await examine(healthy(sts=REJECTED), condition="assertion.repository_id == '99'")
    assert findings["condition"].came.startswith("assertion.repository_id=='99' fails on '123'; ")


async def test_a_condition_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidCondition, match="not understood here"):
        await examine(healthy(), condition="true")


async def test_a_condition_that_google_found_true_is_well_but_compared() -> None:
    findings = await examine(healthy(github=github(runner_environment="self-hosted")))
    assert findings["condition"].good
    assert (
        "though not all of setup-google's would be: assertion.runner_environment=="
        in findings["condition"].came
    )


async def test_an_issuer_s_condition_that_cannot_be_known_is_requested() -> None:
    findings = await examine(healthy(github=github(repository_id=None)))
    assert (
        findings["condition"].came
        == "not known for this issuer; pass --condition to have its clauses checked"
    )


@pytest.mark.parametrize("audience", ["https://github.com/acme", ["a", "b"]])
async def test_another_audience_is_found_when_google_refuses_it(audience: object) -> None:
    mismatch = sts_error(
        "invalid_grant", "The audience in ID Token [a] does not match the expected audience."
    )
    findings = await examine(healthy(github=github(aud=audience), sts=mismatch))
    came = findings["audience"].came
    assert came.startswith(f"the audience in ID Token is {audience!r}, not '{AUDIENCE}'\n  claims: aud=")
    assert f"fix: ask for a token with the audience {AUDIENCE}" in came
    assert (await examine(healthy(github=github(aud=audience))))["audience"].good


async def test_no_identity_is_found() -> None:
    findings = await examine(healthy(), given=Given())
    assert "fix: write in the job: permissions: id-token: write" in findings["identity"].came
    assert [findings[check].good for check in CHECKS[1:6]] == [None] * 5


async def test_a_given_token_is_examined_like_a_requested_one() -> None:
    given = Given(None, Token(jwt(exp=now(minutes=5))))
    assert report(list((await examine(healthy(), given=given)).values()))


@pytest.mark.parametrize(
    "registry", ["registry.test/a/b", "us-docker.pkg.dev", "us-docker.pkg.dev/my-project"]
)
async def test_a_registry_that_is_not_google_s_is_found(registry: str) -> None:
    found = (await examine(healthy(), registry=registry))["registry"]
    assert f"{registry} is not in Artifact Registry\n  fix: pass --registry=" in found.came.replace(
        "/ is", " is"
    )


async def test_clocks_that_differ_are_found() -> None:
    answer = well().answers["us-docker.pkg.dev"]
    assert isinstance(answer, httpx.Response)
    answer.headers["Date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=90.5), usegmt=True)
    found = (await examine(healthy(registry=answer)))["clock"]
    assert found.good is False
    assert found.came.startswith("us-docker.pkg.dev is +")
    assert found.came.endswith("s from this machine's clock\n  fix: timedatectl set-ntp true")


async def test_without_responses_no_clock_differs() -> None:
    lost = httpx.ConnectError("refused")
    found = (await examine(healthy(github=lost, registry=lost)))["clock"]
    assert found.came == "within 60 s of no server: none responded"

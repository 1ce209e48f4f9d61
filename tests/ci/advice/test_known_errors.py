"""Every known error is recognised in what Google, GitHub and registries really say."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from advice.explanation import explain
from advice.known_errors import SIGNALS, advice, find_signals
from errors import Unexplained


def wrapped_at_blanks(text: str) -> str:
    """Return a text in lines of 60 columns."""
    return textwrap.fill(text, 60, break_long_words=False, break_on_hyphens=False)


def break_lines(text: str) -> str:
    """Return a text as a terminal of 70 columns breaks it, also within words."""
    line = " ".join(text.split())
    return "\n".join(line[start : start + 70] for start in range(0, len(line), 70))


# What is seen in logs, by the name of the error.
SEEN = {
    "no token for Sigstore": [
        "not signed: the CI system issues no token for Sigstore; give --sigstore-token"
    ],
    "token for Sigstore expired": ["signature: Identity token is not within its validity period"],
    "token refused by Sigstore": [
        "signature: Identity token is malformed or missing claims: Audience doesn't match",
        "signature: There was an error processing the identity token: 400 Client Error: Bad Request for url: "
        "https://fulcio.sigstore.dev/api/v2/signingCert",
    ],
    "Fulcio unavailable": [
        "signature: HTTPSConnectionPool(host='fulcio.sigstore.dev', port=443): Max retries exceeded with "
        "url: /api/v2/signingCert (Caused by NameResolutionError: Failed to resolve 'fulcio.sigstore.dev' "
        "([Errno -2] Name or service not known))",
    ],
    "log entry exists": ["409 Client Error: an equivalent entry already exists in the transparency log"],
    "Rekor unavailable": [
        "signature: 503 Server Error: Service Unavailable for url: https://rekor.sigstore.dev/api/v1/log/entries/"
    ],
    "signed late": ["signature: m@sha256:1: cert is not valid at validation time"],
    "another signer": ["signature: m@sha256:1:\n  ref: the certificate says 'a', the policy demands 'b'"],
    "unknown signing keys": ["signature: m@sha256:1: SCT verify failed: no such key"],
    "not signed": ["signature: m@sha256:1 has none, and deploy/environments.toml demands one in [signature]"],
    "no identity": [
        "GitHub Actions did not inject $ACTIONS_ID_TOKEN_REQUEST_TOKEN or $ACTIONS_ID_TOKEN_REQUEST_URL",
        'secret env var not found: "ACTIONS_ID_TOKEN_REQUEST_TOKEN"',
        'secret env var not found: "ACT..."',
        'Error: invalid argument for "--oidc-url": no such environment variable; expected env://NAME',
        "Error: $ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set",
        "Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable",
    ],
    "identity refused": ["identity: https://pipelines.actions.test/x answered 401 Unauthorized"],
    "provider name": [
        '{"error":"invalid_request","error_description":"Invalid value for \\"audience\\". This value should '
        'be the full resource name of the Identity Provider."}',
        "provider: 'projects/p' is no workload identity provider",
    ],
    "provider condition missing": ["The attribute condition must reference one of the provider's claims."],
    "pool or provider exists": ["ALREADY_EXISTS: Requested entity already exists"],
    "pool unknown": ["INVALID_ARGUMENT: Identity Pool does not exist (p.svc.id.goog)."],
    "provider unknown": [
        '{"error":"invalid_target","error_description":"The target service indicated by the \\"audience\\" '
        'parameters is invalid. This might either be because the pool or provider is disabled or deleted"}'
    ],
    "subject": [
        '{"error":"invalid_request","error_description":"The size of mapped attribute google.subject exceeds '
        'the 127 bytes limit."}',
        '{"error":"unauthorized_client","error_description":"Could not obtain a value for google.subject"}',
    ],
    "not a release": ["rejected by the attribute condition\n assertion.ref_type=='tag' fails on 'branch'"],
    "not the workflow of releases": [
        "assertion.event_name=='push' fails on 'workflow_dispatch'",
        "assertion.workflow_ref.contains('/.github/workflows/milestone2-ci.yml@refs/tags/v') fails on 'a'",
    ],
    "not a machine of GitHub's": ["assertion.runner_environment=='github-hosted' fails on 'self-hosted'"],
    "condition": [
        '{"error":"unauthorized_client","error_description":"The given credential is rejected by the '
        'attribute condition."}'
    ],
    "issuer out of reach": [
        '{"error":"invalid_grant","error_description":"Error connecting to the given credential\'s issuer."}'
    ],
    "issuer of GitLab": [
        '{"error":"invalid_grant","error_description":"The issuer in ID Token https://gitlab.com does not '
        'match the expected ones: https://token.actions.githubusercontent.com"}'
    ],
    "issuer": [
        '{"error":"invalid_grant","error_description":"The issuer in ID Token https://a does not match the '
        'expected ones: https://b"}'
    ],
    "audience": [
        '{"error":"invalid_grant","error_description":"The audience in ID Token [a] does not match the '
        'expected audience b."}',
        "invalid_grant: The audience in JWT does not match the expected values.",
    ],
    "token too old or early": [
        '{"error":"invalid_grant","error_description":"ID Token issued at 1 is stale to sign-in."}',
        "invalid_grant: The ID Token has expired",
        "invalid_grant: token is not yet valid",
    ],
    "signature": [
        "invalid_grant: Invalid JWT signature.",
        "invalid_grant: Unable to verify the ID Token signature.",
        "invalid_grant: Unable to parse the ID Token.",
    ],
    "VPC Service Controls": [
        "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x"
    ],
    "organization policy": ["Org Policy violated for value: 'https://token.actions.githubusercontent.com'."],
    "access token": [
        "401 UNAUTHENTICATED: Request had invalid authentication credentials. Expected OAuth 2 access token",
    ],
    "API disabled": [
        "IAM Service Account Credentials API has not been used in project 1 before or it is disabled"
    ],
    "Cloud Run's service agent may not use the account": [
        "Google Cloud Run Service Agent does not have permission to get access tokens for the service account"
    ],
    "Cloud Run may not read the image": [
        "Google Cloud Run Service Agent service-1@serverless-robot-prod.iam.gserviceaccount.com must have "
        "permission to read the image, us-docker.pkg.dev/p/r/i:v1"
    ],
    "service account not ours to use": [
        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
        "403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getOpenIdToken' denied",
    ],
    "service account unknown": [
        "POST /v1/projects/-/serviceAccounts/a@b:generateAccessToken answered 404 with an empty body",
        "Not found; Gaia id not found for email a@b",
    ],
    "no password": ["denied: Unauthenticated request. Unauthenticated requests do not have permission"],
    "no right to see the repository": ["Permission 'artifactregistry.repositories.get' denied on resource"],
    "no right to read the table": [
        "a@p.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage "
        "object. Permission 'storage.objects.get' denied on resource (or it may not exist)."
    ],
    "no right to push": [
        'denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on resource '
        '"projects/p/locations/l/repositories/r" (or it may not exist)'
    ],
    "no repository in the name": ["NAME_INVALID: Missing image name."],
    "no such repository": ['name unknown: Repository "r" not found', "NAME_UNKNOWN"],
    "tag taken": ["cannot update tag v1.0.0. The repository has enabled tag immutability"],
    "no right to deploy as": ["Permission 'iam.serviceaccounts.actAs' denied on service account x"],
    "no right to deploy": ["Permission 'run.services.get' denied on resource 'namespaces/p/services/s'"],
    "no right to set up": ["Permission 'iam.workloadIdentityPools.create' denied on resource"],
    "no right to use the project": ["Caller does not have required permission to use project p"],
    "another architecture": [
        "standard_init_linux.go:228: exec user process caused: exec format error",
        "exec /venv/bin/python: exec format error\nThe user-provided container failed to start and listen on "
        "the port",
    ],
    "service did not start": [
        "The user-provided container failed to start and listen on the port defined provided by the PORT=8080"
    ],
    "permission": ["403 PERMISSION_DENIED: The caller does not have permission"],
    "certificate": ["ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"],
    "name": ["ConnectError: [Errno -2] Name or service not known"],
    "too many requests": ["sts: answered 429 Too Many Requests", "RESOURCE_EXHAUSTED: Quota exceeded"],
    "no answer": [
        "google: no answer to POST /v1/token in 5 attempts",
        "sts: answered 503 Service Unavailable",
    ],
}


def test_every_signal_has_been_seen() -> None:
    assert list(SEEN) == [signal.name for signal in SIGNALS]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in SEEN.items() for text in texts])
def test_a_known_error_is_recognised_for_what_it_is(name: str, text: str) -> None:
    assert find_signals(text)[0].name == name
    assert explain(f"some log\n{text}\nmore log").startswith(f"{name}\n  cause: ")


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_an_explanation_leaves_no_placeholder(signal: object) -> None:
    for text in SEEN[signal.name]:  # type: ignore[attr-defined]
        assert re.fullmatch(r"\n  cause: [^{}\n]+\n  fix: [^{}\n]+", advice(text))


CATALOGUE = tomllib.loads((Path(__file__).parent / "seen_errors.toml").read_text())["error"]


def test_the_catalogue_is_of_many_different_threads() -> None:
    assert len({each["source"] for each in CATALOGUE}) == len(CATALOGUE) >= 60
    assert {each["explains"] for each in CATALOGUE} <= {signal.name for signal in SIGNALS}


@pytest.mark.parametrize("seen", CATALOGUE, ids=lambda seen: seen["source"].removeprefix("https://"))
@pytest.mark.parametrize(
    "wrapped",
    [
        str,
        json.dumps,
        lambda text: json.dumps(json.dumps(text)),
        wrapped_at_blanks,
        break_lines,
    ],
    ids=["as it was", "in JSON", "in JSON in JSON", "wrapped", "broken"],
)
def test_what_people_saw_has_one_explanation(seen: dict[str, str], wrapped: Callable[[str], str]) -> None:
    assert [signal.name for signal in find_signals(wrapped(seen["text"]))] == [seen["explains"]]


def test_advice_names_what_is_known() -> None:
    explanation = advice("invalid_target", provider="github", pool="releases", number="12")
    assert (
        "providers describe github --location=global --workload-identity-pool=releases --project=12 "
        in explanation
    )


def test_advice_shows_the_claims_that_matter_and_no_others() -> None:
    explanation = advice(
        "invalid_grant: ID Token issued at 1 is stale to sign-in.", {"iat": 1, "exp": 2, "sub": "s"}
    )
    assert explanation.startswith("\n  claims: iat=1, exp=2\n  cause: ")
    assert "claims" not in advice("CERTIFICATE_VERIFY_FAILED", {"jti": "x"})


def test_advice_on_an_unknown_error_is_nothing() -> None:
    assert advice("segmentation fault") == ""


def test_several_errors_of_a_log_are_all_explained() -> None:
    explanation = explain("invalid_target\n… denied: Unauthenticated request\n")
    assert [line for line in explanation.splitlines() if not line.startswith(" ")] == [
        "provider unknown",
        "no password",
    ]


def test_a_text_without_a_known_error_is_refused() -> None:
    with pytest.raises(
        Unexplained, match=r"none of the \d+ known errors is in this text; `dagger call doctor`"
    ):
        explain(
            "all is well: 503 files, 429 lines, google.subject=assertion.sub, the issuer, an audience, tags"
        )

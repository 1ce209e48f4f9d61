"""Every known error is recognised in what Google, GitHub and registries really say."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from advice.known_errors import SIGNALS, advice, find_signals, solution
from advice.signals import Signal
from errors import Unexplained
from keyless.explanation import explain


def wrap_at_blanks(text: str) -> str:
    """Return a text in lines of 60 columns."""
    return textwrap.fill(text, 60, break_long_words=False, break_on_hyphens=False)


def break_lines(text: str) -> str:
    """Return a text as a terminal of 70 columns breaks it, also within words."""
    line = " ".join(text.split())
    return "\n".join(line[start : start + 70] for start in range(0, len(line), 70))


CATALOGUE = tomllib.loads((Path(__file__).parent / "seen_errors.toml").read_text())["error"]
# In the pipeline's own words, and where Google's name the error in another way than people report it.
SEEN = [
    (
        "no token for Sigstore",
        "not signed: the CI system issues no token for Sigstore; give --sigstore-token",
    ),
    ("token for Sigstore expired", "signature: Identity token is not within its validity period"),
    ("signed late", "signature: m@sha256:1: cert is not valid at validation time"),
    ("another signer", "signature: m@sha256:1:\n  ref: the certificate says 'a', the policy demands 'b'"),
    ("unknown signing keys", "signature: m@sha256:1: SCT verify failed: no such key"),
    ("not signed", "signature: m@sha256:1 has none, and deploy/environments.toml demands one in [signature]"),
    ("no identity", 'secret env var not found: "ACTIONS_ID_TOKEN_REQUEST_TOKEN"'),
    ("no identity", 'invalid argument for "--oidc-url": no such environment variable; expected env://NAME'),
    ("identity refused", "identity: https://pipelines.actions.test/x answered 401 Unauthorized"),
    ("provider name", "provider: 'projects/p' is no workload identity provider"),
    ("pool or provider exists", "ALREADY_EXISTS: Requested entity already exists"),
    ("not a release", "rejected by the attribute condition\n assertion.ref_type=='tag' fails on 'branch'"),
    ("not the workflow of releases", "assertion.event_name=='push' fails on 'workflow_dispatch'"),
    ("not a machine of GitHub's", "assertion.runner_environment=='github-hosted' fails on 'self-hosted'"),
    ("issuer out of reach", "invalid_grant: Error connecting to the given credential's issuer."),
    (
        "issuer of GitLab",
        "invalid_grant: The issuer in ID Token https://gitlab.com does not match the expected",
    ),
    ("issuer", "invalid_grant: The issuer in ID Token https://a does not match the expected ones: https://b"),
    ("audience", "invalid_grant: The audience in ID Token [a] does not match the expected audience b."),
    ("signature", "invalid_grant: Invalid JWT signature."),
    ("access token", "401 UNAUTHENTICATED: Request had invalid authentication credentials. Expected OAuth 2"),
    ("API disabled", "IAM Service Account Credentials API has not been used in project 1 before or it is"),
    ("service account unknown", "serviceAccounts/a@b:generateAccessToken answered 404 with an empty body"),
    ("no such repository", 'name unknown: Repository "r" not found'),
    ("no such repository", "NAME_UNKNOWN"),
    (
        "another architecture",
        "exec format error\nThe user-provided container failed to start and listen on the",
    ),
    ("certificate", "ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
    ("name", "ConnectError: [Errno -2] Name or service not known"),
    ("too many requests", "sts: answered 429 Too Many Requests"),
    ("too many requests", "RESOURCE_EXHAUSTED: Quota exceeded"),
    ("no answer", "google: no answer to POST /v1/token in 5 attempts"),
    ("no answer", "sts: answered 503 Service Unavailable"),
]


def test_every_signal_has_been_seen() -> None:
    assert {name for name, _ in SEEN} | {each["explains"] for each in CATALOGUE} == {
        signal.name for signal in SIGNALS
    }


@pytest.mark.parametrize(("name", "text"), SEEN)
def test_a_known_error_is_recognised_for_what_it_is(name: str, text: str) -> None:
    assert find_signals(text)[0].name == name
    assert explain(f"some log\n{text}\nmore log").startswith(f"{name}\n  cause: ")


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_an_explanation_leaves_no_placeholder(signal: Signal) -> None:
    assert re.fullmatch(r"  cause: [^{}\n]+\n  fix: [^{}\n]+", solution(signal, {}))


def test_the_catalogue_is_of_many_different_threads() -> None:
    assert len({each["source"] for each in CATALOGUE}) == len(CATALOGUE) >= 60
    assert {each["explains"] for each in CATALOGUE} <= {signal.name for signal in SIGNALS}


@pytest.mark.parametrize("seen", CATALOGUE, ids=lambda seen: seen["source"].removeprefix("https://"))
def test_what_people_saw_has_one_explanation_however_it_is_wrapped(seen: dict[str, str]) -> None:
    text = seen["text"]
    quoted = json.dumps(text)
    for wrapped in (text, quoted, json.dumps(quoted), wrap_at_blanks(text), break_lines(text)):
        assert [signal.name for signal in find_signals(wrapped)] == [seen["explains"]]


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

"""The fake IAM Credentials and Artifact Registry APIs: access to tokens, and each refusal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest

from fakecloud.state.fixtures import Binding, CloudSetup, with_deployers
from fakecloud.state.policy import CLOUD_PLATFORM
from tests.ci.releaser import Releaser

READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"
INVALID = "Request contains an invalid argument."
DENIED = "Permission 'iam.serviceAccounts.{}' denied on resource (or it may not exist)."
UPLOAD = "artifactregistry.repositories.uploadArtifacts"
ADMIN = "artifactregistry.repositories.delete"
REPOSITORY = "v1/projects/rehearsal-project/locations/us-central1/repositories/models"


def error(answer: httpx.Response) -> tuple[int, str, str]:
    """Return a refusal's code, status and message; all say the same code."""
    found = answer.json()["error"]
    assert answer.status_code == found["code"]
    return found["code"], found["status"], found["message"]


def reason(answer: httpx.Response) -> str:
    """Return why, as the answer's ErrorInfo says it."""
    return str(answer.json()["error"]["details"][0]["reason"])


def test_who_publishes_deploys_nothing_and_who_deploys_publishes_nothing(setup: CloudSetup) -> None:
    separate = with_deployers(setup)
    held = {
        account: {each.role for each in separate.bindings if each.member == f"serviceAccount:{account}"}
        for account in separate.accounts
    }
    deploying = {"artifactregistry.reader", "iam.serviceAccountUser", "monitoring.viewer", "run.developer"}
    assert held == {
        setup.service_account: {"roles/artifactregistry.writer", "roles/storage.objectViewer"},
        **{
            each: {f"roles/{role}" for role in deploying | {"run.invoker"}}
            for each in separate.deployers.values()
        },
    }


@pytest.mark.parametrize(
    ("environment", "status"), [("production", 200), ("staging", 403), ("", 403), ("Production", 403)]
)
def test_an_account_for_production_takes_jobs_of_that_environment_only(
    release_in: Callable[..., Releaser], setup: CloudSetup, environment: str, status: int
) -> None:
    setup = with_deployers(replace(setup, job=replace(setup.job, environment=environment)))
    releaser, account = release_in(setup), setup.deployers["production"]
    answer = releaser.act("generateAccessToken", releaser.federate(), account, scope=[CLOUD_PLATFORM])
    assert answer.status_code == status
    if status == 403:
        assert error(answer)[2] == DENIED.format("getAccessToken")


def test_a_service_accounts_token_lasts_an_hour_or_as_requested(releaser: Releaser) -> None:
    before = time.time()
    answer = releaser.act("generateAccessToken", releaser.federate(), scope=[CLOUD_PLATFORM])
    expires = datetime.strptime(answer.json()["expireTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before + 3599 <= expires.timestamp() <= time.time() + 3600
    assert releaser.impersonate(lifetime="600s")


def test_an_id_token_is_google_s_for_the_audience(releaser: Releaser) -> None:
    arguments: dict[str, Any] = {"audience": "https://model.run.app", "includeEmail": True}
    token = releaser.act("generateIdToken", releaser.federate(), **arguments).json()["token"]
    keys = jwt.PyJWKSet.from_dict(releaser.http.get("/iamcredentials/oauth2/v3/certs").json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["RS256"], audience="https://model.run.app")
    assert claims["iss"] == "https://accounts.google.com"
    assert (claims["email"], claims["email_verified"]) == (releaser.setup.service_account, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, INVALID),
        ({"scope": []}, INVALID),
        ({"scope": ["cloud-platform"]}, INVALID),
        ({"scope": CLOUD_PLATFORM}, "Invalid value at 'scope'"),
        ({"scopes": [CLOUD_PLATFORM]}, 'Invalid JSON payload received. Unknown name "scopes": Cannot find'),
        ({"scope": [CLOUD_PLATFORM], "lifetime": "0s"}, "Lifetime of access token must be larger then zero."),
        ({"scope": [CLOUD_PLATFORM], "lifetime": "3601s"}, "Access tokens for service account publisher@"),
        ({"scope": [CLOUD_PLATFORM], "lifetime": "1h"}, "Invalid value at 'lifetime' (type.googleapis.com/"),
        ({"scope": [CLOUD_PLATFORM], "lifetime": 600}, "Invalid value at 'lifetime'"),
    ],
    ids=str,
)
def test_a_wrong_request_is_an_invalid_argument(
    releaser: Releaser, content: dict[str, Any], message: str
) -> None:
    code, status, said = error(releaser.act("generateAccessToken", releaser.federate(), **content))
    assert (code, status, said[: len(message)]) == (400, "INVALID_ARGUMENT", message)


def test_an_id_token_needs_an_audience(releaser: Releaser) -> None:
    answer = releaser.act("generateIdToken", releaser.federate(), includeEmail=True)
    assert error(answer) == (400, "INVALID_ARGUMENT", INVALID)


@pytest.mark.parametrize("body", ["{", "[]"])
def test_a_malformed_request_is_an_invalid_argument(releaser: Releaser, body: str) -> None:
    path = f"v1/projects/-/serviceAccounts/{releaser.setup.service_account}:generateAccessToken"
    answer = releaser.call("POST", "iamcredentials", path, releaser.federate(), content=body)
    assert error(answer) == (400, "INVALID_ARGUMENT", "Invalid JSON payload received.")


@pytest.mark.parametrize(
    ("token", "message", "why"),
    [
        (None, "Request is missing required authentication credential.", "CREDENTIALS_MISSING"),
        ("ya29.forged", "Request had invalid authentication credentials.", "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
    ],
)
@pytest.mark.parametrize("api", ["iamcredentials", "artifactregistry"])
def test_missing_and_unknown_tokens_are_unauthenticated(
    releaser: Releaser, api: str, token: str | None, message: str, why: str
) -> None:
    path = f"v1/projects/-/serviceAccounts/{releaser.setup.service_account}:generateAccessToken"
    arguments = ("POST", api, path, token) if api == "iamcredentials" else ("GET", api, REPOSITORY, token)
    answer = releaser.call(*arguments)
    code, status, said = error(answer)
    assert (code, status, said.partition(" Expected")[0], reason(answer)) == (
        401,
        "UNAUTHENTICATED",
        message,
        why,
    )


def test_an_expired_access_token_is_unauthenticated(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    # By Google's clock the identity, and so the token for it, has less than a second left.
    releaser = release_in(setup, "clock:-299s")
    answer = releaser.call("GET", "artifactregistry", REPOSITORY, releaser.federate())
    assert error(answer)[1] == "UNAUTHENTICATED"
    assert reason(answer) == "ACCESS_TOKEN_EXPIRED"


def test_a_registry_token_is_no_access_token(releaser: Releaser) -> None:
    answer = releaser.call("GET", "artifactregistry", REPOSITORY, releaser.visitor())
    assert reason(answer) == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


def test_a_token_of_another_scope_does_not_suffice(releaser: Releaser) -> None:
    answer = releaser.act("generateAccessToken", releaser.federate(READ_ONLY), scope=[CLOUD_PLATFORM])
    assert error(answer) == (403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
    assert reason(answer) == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_an_unknown_service_account_is_not_found(releaser: Releaser) -> None:
    email = "publishr@rehearsal-project.iam.gserviceaccount.com"
    answer = releaser.act("generateAccessToken", releaser.federate(), email, scope=[CLOUD_PLATFORM])
    assert error(answer) == (404, "NOT_FOUND", f"Not found; Gaia id not found for email {email}")


@pytest.mark.parametrize("email", ["publisher", "publisher@example.com", "me@gmail.com"])
def test_what_is_no_service_account_s_address_is_404_without_a_word(releaser: Releaser, email: str) -> None:
    answer = releaser.act("generateAccessToken", releaser.federate(), email, scope=[CLOUD_PLATFORM])
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_project_in_the_place_of_the_dash_is_an_invalid_argument(releaser: Releaser) -> None:
    path = f"v1/projects/rehearsal-project/serviceAccounts/{releaser.setup.service_account}"
    content = {"scope": [CLOUD_PLATFORM]}
    token = releaser.federate()
    answer = releaser.call("POST", "iamcredentials", f"{path}:generateAccessToken", token, json=content)
    assert error(answer) == (400, "INVALID_ARGUMENT", INVALID)


def bind(setup: CloudSetup, role: str, member: str) -> CloudSetup:
    """Return the setup with one binding on the service account."""
    pool = f"principalSet://iam.googleapis.com/{setup.provider.pool_resource}"
    return replace(setup, bindings=(Binding(setup.service_account, role, member.replace("POOL", pool)),))


@pytest.mark.parametrize(
    ("role", "member"),
    [
        ("roles/artifactregistry.writer", "POOL/attribute.repository_id/2002"),
        ("roles/iam.workloadIdentityUser", "POOL/attribute.repository_id/2003"),
        ("roles/iam.workloadIdentityUser", "POOL/attribute.repository/rehearsal/milestone2"),
        ("roles/iam.workloadIdentityUser", "POOL/attribute.ref/refs/tags/V1.0.0"),
        ("roles/iam.workloadIdentityUser", "user:another@example.com"),
    ],
    ids=["another role", "another repository", "an unmapped attribute", "another case", "another user"],
)
@pytest.mark.parametrize(
    ("verb", "permission", "content"),
    [
        ("generateAccessToken", "getAccessToken", {"scope": [CLOUD_PLATFORM]}),
        ("generateIdToken", "getOpenIdToken", {"audience": "https://model.run.app"}),
    ],
)
def test_without_the_right_binding_permission_is_denied(
    release_in: Callable[..., Releaser],
    setup: CloudSetup,
    role: str,
    member: str,
    verb: str,
    permission: str,
    content: dict[str, Any],
) -> None:
    releaser = release_in(bind(setup, role, member))
    answer = releaser.act(verb, releaser.federate(), **content)
    assert error(answer) == (403, "PERMISSION_DENIED", DENIED.format(permission))
    assert answer.json()["error"]["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "iam.googleapis.com",
            "metadata": {"permission": f"iam.serviceAccounts.{permission}"},
        }
    ]


@pytest.mark.parametrize("member", ["POOL/attribute.ref/refs/tags/v1.0.0", "POOL/*"])
def test_a_binding_on_any_mapped_attribute_or_the_whole_pool_is_one(
    release_in: Callable[..., Releaser], setup: CloudSetup, member: str
) -> None:
    other = bind(setup, "roles/iam.workloadIdentityUser", member)
    assert release_in(other).impersonate()


def test_the_repository_s_settings_are_returned(releaser: Releaser) -> None:
    answer = releaser.call("GET", "artifactregistry", REPOSITORY, releaser.federate())
    assert answer.json()["dockerConfig"] == {"immutableTags": True}
    assert answer.json()["registryUri"] == "us-central1-docker.pkg.dev/rehearsal-project/models"


def test_tags_that_may_move_are_not_said_to_be_immutable(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    mutable = replace(setup, repository=replace(setup.repository, immutable_tags=False))
    releaser = release_in(mutable)
    assert (
        releaser.call("GET", "artifactregistry", REPOSITORY, releaser.federate()).json()["dockerConfig"] == {}
    )


def test_another_repository_s_settings_are_denied(releaser: Releaser) -> None:
    elsewhere = REPOSITORY.replace("us-central1", "europe-west1")
    code, status, message = error(releaser.call("GET", "artifactregistry", elsewhere, releaser.federate()))
    assert (code, status) == (403, "PERMISSION_DENIED")
    assert message == (
        "Permission 'artifactregistry.repositories.get' denied on resource '//artifactregistry.googleapis."
        "com/projects/rehearsal-project/locations/europe-west1/repositories/models' (or it may not exist)."
    )


@pytest.mark.parametrize(
    ("path", "held"),
    [(REPOSITORY, {"permissions": [UPLOAD]}), (f"{REPOSITORY}-2", {})],
    ids=["ours", "other"],
)
@pytest.mark.parametrize("impersonated", [False, True])
def test_permissions_are_those_that_are_held(
    releaser: Releaser, path: str, held: dict[str, list[str]], impersonated: bool
) -> None:
    token = releaser.impersonate() if impersonated else releaser.federate()
    content = {"permissions": [UPLOAD, ADMIN]}
    answer = releaser.call("POST", "artifactregistry", f"{path}:testIamPermissions", token, json=content)
    assert (answer.status_code, answer.json()) == (200, held)


def test_permissions_with_wildcards_are_an_invalid_argument(releaser: Releaser) -> None:
    content = {"permissions": ["artifactregistry.*"]}
    path = f"{REPOSITORY}:testIamPermissions"
    answer = releaser.call("POST", "artifactregistry", path, releaser.federate(), json=content)
    assert error(answer) == (400, "INVALID_ARGUMENT", INVALID)

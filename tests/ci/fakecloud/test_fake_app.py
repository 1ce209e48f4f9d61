"""The fake cloud as a whole: GitHub's part, faults, Google's clock, a log without tokens, the program."""

from __future__ import annotations

import base64
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import jwt
import pytest

from fakecloud.__main__ import main
from fakecloud.state.fixtures import CloudSetup
from tests.ci.releaser import IMAGE, Releaser
from tests.conftest import ROOT, without_coverage


def test_the_job_s_identity_is_signed_and_says_what_github_says(releaser: Releaser) -> None:
    token = releaser.identity("https://example.com").json()["value"]
    keys = jwt.PyJWKSet.from_dict(releaser.http.get("/github/.well-known/jwks").json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, ["RS256"], audience="https://example.com")
    assert claims["iss"] == "https://token.actions.githubusercontent.com"
    assert claims["sub"] == "repo:rehearsal@1001/milestone2@2002:ref:refs/tags/v1.0.0"
    assert claims["exp"] - claims["iat"] == 300


def test_without_an_audience_the_owner_is_it(releaser: Releaser) -> None:
    headers = {"Authorization": f"Bearer {releaser.setup.request_token}"}
    token = releaser.http.get("/github/idtoken", headers=headers).json()["value"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == "https://github.com/rehearsal"


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer guessed"}, {"Authorization": "Basic x"}])
def test_a_caller_without_a_request_token_has_no_identity(releaser: Releaser, header: dict[str, str]) -> None:
    answer = releaser.http.get("/github/idtoken", headers=header)
    assert (answer.status_code, b"value" in answer.content) == (401, False)


def test_the_issuer_s_metadata_names_it_and_its_keys(releaser: Releaser) -> None:
    metadata = releaser.http.get("/github/.well-known/openid-configuration").json()
    assert metadata["issuer"] == releaser.setup.issuer
    assert httpx.get(metadata["jwks_uri"], timeout=60).json().keys() == {"keys"}


def test_each_endpoint_can_fail(release_in: Callable[..., Releaser], setup: CloudSetup) -> None:
    releaser = release_in(setup, "oidc:401", "iam:403", "artifacts:500", "token:503", "registry:504")
    for answer, code in (
        (releaser.identity(), 401),
        (releaser.act("generateAccessToken", "x"), 403),
        (releaser.call("GET", "artifactregistry", "v1/projects"), 500),
        (releaser.registry_token(""), 503),
        (releaser.registry("GET", f"/v2/{IMAGE}/tags/list"), 504),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (code, code)


def test_too_many_requests_says_when_to_come_back(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    answer = release_in(setup, "sts:429").exchange()
    assert (answer.headers["Retry-After"], answer.json()["error"]["status"]) == ("1", "RESOURCE_EXHAUSTED")


def test_a_time_out_never_answers_and_the_next_request_does(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    releaser = release_in(setup, "oidc:timeout")
    with pytest.raises(httpx.ReadTimeout):
        releaser.http.get("/github/idtoken", timeout=httpx.Timeout(60, read=0.2))
    assert releaser.identity().status_code == 200


def test_a_reset_cuts_the_connection(release_in: Callable[..., Releaser], setup: CloudSetup) -> None:
    releaser = release_in(setup, "sts:reset")
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        releaser.exchange()
    assert releaser.exchange().status_code == 200


def test_an_upload_that_is_cut_must_begin_again(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    releaser = release_in(setup, "registry:reset")
    token, content = releaser.visitor(), bytes(3_000_000)
    begin = f"/v2/{IMAGE}/blobs/uploads/"
    place = releaser.registry("POST", begin, token).headers["Location"]
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        releaser.registry("PATCH", place, token, content=content)
    assert releaser.registry("PATCH", place, token, content=content).status_code == 400
    again = releaser.registry("POST", begin, token).headers["Location"]
    assert releaser.registry("PATCH", again, token, content=content).status_code == 202


@pytest.mark.parametrize("ahead", [90, -400])
def test_google_s_date_shows_how_far_this_machine_s_clock_is_ahead(
    release_in: Callable[..., Releaser], setup: CloudSetup, ahead: int
) -> None:
    releaser, before = release_in(setup, f"clock:{ahead:+}s"), time.time()
    (date,) = releaser.registry("GET", "/v2/").headers.get_list("Date")
    assert before - 1 <= parsedate_to_datetime(date).timestamp() + ahead <= time.time()


def test_what_is_served_nowhere_is_not_found(releaser: Releaser) -> None:
    assert releaser.http.get("/sts/v2/token").status_code == 404


def test_the_log_has_every_request_and_no_token(
    release_in: Callable[..., Releaser], setup: CloudSetup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    releaser = release_in(setup, "registry:reset")
    identity, federated = releaser.identity().json()["value"], releaser.federate()
    visitor, account = releaser.visitor(), releaser.impersonate()
    place = releaser.registry("POST", f"/v2/{IMAGE}/blobs/uploads/", visitor).headers["Location"]
    with pytest.raises(httpx.TransportError):
        releaser.registry("PUT", place, visitor, content=b"cut")
    while "/uploads/… cut" not in caplog.text:  # logged when the server is done with it, after the client is
        time.sleep(0.01)
    releaser.registry_token("ya29.forged")
    said = "\n".join(record.getMessage() for record in caplog.records)
    for line in ("oidc: GET /github/idtoken 200", "sts: POST /sts/v1/token 200", "token: GET /v2/token 401"):
        assert line in said
    own = "\n".join(record.getMessage() for record in caplog.records if record.name == "fakecloud")
    secrets = [identity, federated, visitor, account, setup.request_token, "ya29.forged"]
    for secret in (*secrets, place.rpartition("/")[2]):
        assert secret not in own
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in own


def test_the_program_serves_until_a_signal(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-request-token\n")
    command = [sys.executable, "-m", "fakecloud", "--host", "127.0.0.1", "--port", "0", "--tag", "v2.0.0"]
    command += ["--registry-url", "http://127.0.0.1:9", "--request-token-file", str(token)]
    environment = without_coverage() | {"PYTHONPATH": str(ROOT / "ci")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        place = process.stdout.readline().split("listening on ")[1].strip()
        headers = {"Authorization": "Bearer the-request-token"}
        answer = httpx.get(f"{place}/github/idtoken", headers=headers, timeout=60)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    claims = jwt.decode(answer.json()["value"], options={"verify_signature": False})
    assert claims["ref"] == "refs/tags/v2.0.0"
    assert [line.rpartition(",")[0] for line in log.splitlines()] == ["oidc: GET /github/idtoken 200"]


def test_the_program_refuses_a_misspelt_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--registry-url", "http://x", "--request-token-file", "x", "--fault", "sts:slow"])
    assert "rehearsal: 'sts:slow' is no fault; write one like sts:503x2" in capsys.readouterr().err


def test_a_rehearsal_starts_another_run_of_the_job_with_its_key(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    releaser = release_in(replace(setup, control_key="the-key"))
    run = {"ref": "refs/tags/v2.0.0", "commit": "d" * 40}
    for key, status in (("guessed", 401), ("the-key", 204)):
        headers = {"Authorization": f"Bearer {key}"}
        assert releaser.http.post("/control/runs", json=run, headers=headers).status_code == status
    claims = jwt.decode(releaser.identity().json()["value"], options={"verify_signature": False})
    assert (claims["ref"], claims["sha"], claims["run_id"]) == ("refs/tags/v2.0.0", "d" * 40, "1")
    assert claims["job_workflow_ref"].endswith("@refs/tags/v2.0.0")

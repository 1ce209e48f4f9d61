"""The workflow's own lines in bash, as GitHub runs them: a tag ends in a push to the fake cloud.

Here `./daggerw --install` fetches a `dagger` that calls the embedded engine and adds the fake cloud's address
to publish. Otherwise the lines get only what GitHub gives them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

import main
from engine_fixtures import Command
from engine_process import find_free_port, until
from fakecloud import addresses
from tests.host import download_site
from tests.host.release.deployed import ENVIRONMENTS, Starter
from tests.host.release.github_job import Job
from tests.host.release.google import Google, end_afterwards, run_fake_cloud
from tests.host.release.neighbour import neighbour

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
ROOT = Path(__file__).resolve().parents[3]
TAG = "v1.0.0"
INSTALL, CALL = 0, 1
CLI = """#!/usr/bin/env bash
[[ $* != "call "*" --oidc-token "* ]] || set -- "$@" --google-endpoints "$REHEARSAL"
[[ $* != "call publish "* ]] || set -- "$@" --allow-stand-in
exec "$GITHUB_WORKSPACE/daggerw" "$@"
"""
PATIENCE = 600.0  # for an engine that has to make its base images first


@pytest.fixture(scope="module", autouse=True)
def address() -> Iterator[None]:
    """Have a neighbouring machine: module code has a 127.0.0.1 of its own, and reaches none of the host."""
    with neighbour():
        yield


@pytest.fixture(scope="module")
def registry(command: Command, example: Path) -> Iterator[str]:
    """Yield the address of a registry that has nothing yet: a service of the embedded engine."""
    port = find_free_port()
    words = ["call", "image", "--address", main.REGISTRY, "with-exposed-port", "--port", "5000"]
    line, environment = command(*words, "as-service", "--use-entrypoint", "up", "--ports", f"{port}:5000")
    address = f"http://127.0.0.1:{port}"
    with end_afterwards(subprocess.Popen(line, cwd=example, env=environment, text=True)) as process:
        settled = partial(has_answered_or_ended, f"{address}/v2/", process)
        until(settled, "the registry answers", PATIENCE)
        assert process.poll() is None
        yield address


@pytest.fixture(scope="module")
def google(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    """Yield the fake cloud for the job of the released tag."""
    with run_fake_cloud(registry, tmp_path_factory.mktemp("google"), TAG) as google:
        yield google


@pytest.fixture(scope="module")
def job(google: Google, wrapper_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return a tag's job `publish`, checked out, and with a dagger installed as its first line does it."""
    folder = tmp_path_factory.mktemp("job")
    job = at(google, Job("publish", folder, TAG, wrapper_environment, google.variables, google.identity))
    job.check_out()
    with download_site.serve(folder) as site:
        site.lead(job.home)
        install(job, site.offer(CLI))
    return job


@pytest.fixture(scope="module")
def release_line(job: Job) -> str:
    """Return what the job's last line prints, once it has released."""
    done = job.line(CALL)
    assert done.returncode == 0, done.stderr
    assert job.identity["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] not in done.stdout + done.stderr
    return done.stdout


def at(google: Google, job: Job) -> Job:
    """Return a job that uses a fake cloud."""
    endpoints = job.folder / f"google-{httpx.URL(google.base).port}.toml"
    endpoints.write_text(addresses.endpoints(google.base, google.setup))
    return replace(job, machine={**job.machine, "REHEARSAL": str(endpoints)}, identity=google.identity)


def install(job: Job, digest: str) -> None:
    """Run the line that installs, while another archive than Dagger's is the pinned one."""
    wrapper = job.workspace / "daggerw"
    committed = wrapper.read_text()
    download_site.pin(wrapper, digest)
    done = job.line(INSTALL)
    assert done.returncode == 0, done.stderr
    wrapper.write_text(committed)


def has_answered_or_ended(url: str, process: subprocess.Popen[str]) -> bool:
    """Return whether a server answers, or has ended."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return process.poll() is not None


def test_a_tag_ends_in_a_push_to_google(job: Job, release_line: str, google: Google) -> None:
    image = re.escape(f"{google.setup.repository.uri}/milestone2:{TAG}")
    match = re.fullmatch(rf"{image}@(sha256:[0-9a-f]{{64}})\n", release_line)
    assert match, release_line
    assert job.outputs() == {"image": release_line.strip()}
    assert google.digest(TAG) == google.digest(match[1]) == match[1]


def test_a_release_that_is_run_again_without_a_service_account_finds_itself_there(
    job: Job, google: Google, release_line: str
) -> None:
    done = replace(job, variables=google.variables | {"SERVICE_ACCOUNT": ""}).line(CALL)
    assert (done.returncode, done.stdout) == (0, release_line), done.stderr
    assert "nothing to push" in done.stderr


@pytest.fixture(scope="module")
def deploy_job(
    job: Job, google: Google, release_line: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Job]:
    """Yield a job whose environments are the fake cloud's; its deployed revisions run on this machine."""
    own = replace(job, folder=tmp_path_factory.mktemp("deploying"))
    shutil.copytree(job.folder, own.folder, symlinks=True, dirs_exist_ok=True)
    (own.workspace / "deploy/environments.toml").write_text(ENVIRONMENTS)
    models = tmp_path_factory.mktemp("models")
    with Starter(google.base, google.setup.control_key, google.registry, models).start_revisions():
        yield own


def test_a_release_goes_to_staging_and_from_there_to_production(
    deploy_job: Job, google: Google, release_line: str
) -> None:
    for name, environment in (("deploy-staging", "staging"), ("promote", "production")):
        google.start_run(TAG, environment)
        done = replace(deploy_job, name=name).line(CALL)
        assert (done.returncode, done.stdout) == (0, f"live: {release_line}"), done.stderr
        assert re.search(r"judge, shift to 100 %: .* golden \d+ of \d+ right, .*: fit", done.stderr)
        assert google.setup.request_token not in done.stdout + done.stderr
    refused = replace(deploy_job, name="deploy-staging").line(CALL)
    assert refused.returncode == 1
    assert "attribute.environment/2002:production" in refused.stderr
    google.start_run(TAG, "staging")
    again = replace(deploy_job, name="deploy-staging").line(CALL)
    assert (again.returncode, again.stdout) == (0, f"live: {release_line}"), again.stderr
    assert "runs" in again.stderr
    assert "already; nothing to do" in again.stderr


def test_what_is_live_is_listed_and_answers_and_is_not_rolled_back_to_nothing(
    deploy_job: Job, google: Google, release_line: str
) -> None:
    google.start_run(TAG, "production")
    history = call(deploy_job, google, "history")
    live = re.findall(r"^(\w+): Cloud Run \S+\n  100 % (\S+)$", history.stdout, re.MULTILINE)
    assert live == [(name, release_line.strip()) for name in ("staging", "production")], history.stderr
    smoke = call(deploy_job, google, "smoke", "--url", f"{google.base}/run.app/production")
    assert f"as version {TAG}" in smoke.stdout, smoke.stderr
    back = call(deploy_job, google, "rollback", "--environment", "production")
    assert back.returncode == 1
    assert "there was no good release before" in back.stderr


def call(job: Job, google: Google, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a function by hand, with the account that deploys to production."""
    account = google.setup.deployers["production"]
    who = google.arguments(Path(job.machine["REHEARSAL"]), account)
    return subprocess.run(
        [str(job.workspace / "daggerw"), "call", *words, *who],
        cwd=job.workspace,
        env={**job.machine, **google.identity},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_job_of_a_pull_request_lints_and_tests_everything(job: Job) -> None:
    done = replace(job, name="check").line(CALL)
    assert done.returncode == 0, done.stderr
    assert "zizmor: " in done.stdout
    assert len(re.findall(r"= \d+ passed", done.stdout)) == 3


def test_a_job_of_anything_but_a_version_s_tag_gets_no_token(
    job: Job, registry: str, google: Google, tmp_path: Path
) -> None:
    with run_fake_cloud(registry, tmp_path, "nightly") as other:
        done = at(other, job).line(CALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert "assertion.ref.startsWith('refs/tags/v')" in done.stderr


def test_a_repository_without_set_up_is_refused_with_the_command(job: Job) -> None:
    variables = {name: value for name, value in job.variables.items() if name != "REGISTRY"}
    done = replace(job, variables=variables).line(CALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert "dagger call setup-google" in done.stderr

"""Set-up script: names of resources, and that a second run changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from conditions.attribute_condition import Condition
from deploying.environments import Environments
from errors import InvalidCondition, InvalidSetup
from keyless.setup_script import PLACE, Setup, github_ids, script
from net.retry_policy import Retrying
from signing.policy import Policy

pytestmark = pytest.mark.anyio

TEMPLATE = (Path(__file__).parents[3] / "deploy/google/setup.sh").read_text()
SETUP = Setup("my-project", "acme/model")
CONDITION = str(Condition.of("123", "45"))
# Keeps what exists as files, and fails like gcloud when something is described that does not.
GCLOUD = """#!/bin/bash
printf '%q ' "$@" >>"$LOG"; echo >>"$LOG"
verb=; kind=; name=
for word in "$@"; do
  case $word in
    --*) break ;;
    deploy) verb=create kind=run-services- ;;
    create|create-oidc|describe|undelete|update*|add-iam*|delete-cleanup*) verb=$word ;;
    *) if [[ -z $verb ]]; then kind+=$word-; elif [[ -z $name ]]; then name=${word%%@*}; fi ;;
  esac
done
case $verb in
  create*) echo ACTIVE >"$STATE/$kind$name" ;;
  undelete) [[ $(<"$STATE/$kind$name") == DELETED ]] && echo ACTIVE >"$STATE/$kind$name" ;;
  describe) if [[ $kind == projects- ]]; then echo 123456; else cat "$STATE/$kind$name"; fi ;;
  delete-cleanup*) exit 1 ;; # as where there is no such policy
esac
"""


class Cloud:
    """A gcloud that keeps its command lines, and runs a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "state"):
            (folder / name).mkdir()
        program = folder / "bin/gcloud"
        program.write_text(GCLOUD)
        program.chmod(0o755)

    def run(self, text: str) -> tuple[str, list[str]]:
        """Return what the script prints and the commands that it gave."""
        log = self.folder / "log"
        log.write_text("")
        env = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "LOG": str(log)}
        env["STATE"] = str(self.folder / "state")
        done = subprocess.run(
            ["bash", "-c", text], env=env, capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout, log.read_text().splitlines()


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """Return a project without anything in it."""
    return Cloud(tmp_path)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """Return what the script prints for a project without anything in it, and the commands that it gave."""
    return Cloud(tmp_path_factory.mktemp("cloud")).run(script(TEMPLATE, SETUP, "123", "45"))


def verbs(commands: list[str]) -> set[str]:
    """Return which commands change something, other than to what is so already."""
    changing = ("create", "undelete", "deploy")
    return {word for command in commands for word in command.split()[:4] if word.startswith(changing)}


def test_a_project_is_set_up_with_the_condition_that_rehearsals_enforce(
    first_run: tuple[str, list[str]],
) -> None:
    printed, commands = first_run
    (created,) = [line for line in commands if "create-oidc" in line]
    assert f"--attribute-condition={CONDITION}" in created.replace("\\", "")
    assert (
        "--attribute-mapping=google.subject=assertion.repository_id + ':' + assertion.run_id,attribute."
        in (created.replace("\\", ""))
    )
    assert verbs(commands) == {"create", "create-oidc", "deploy"}
    assert any("repositories create models" in line and "--immutable-tags" in line for line in commands)
    assert not any("set-cleanup-policies" in line for line in commands)
    assert [line for line in printed.splitlines() if line.startswith("gh variable")] == [
        "gh variable set REGISTRY --repo acme/model --body us-central1-docker.pkg.dev/my-project/models",
        "gh variable set WORKLOAD_IDENTITY_PROVIDER --repo acme/model --body "
        "projects/123456/locations/global/workloadIdentityPools/releases/providers/github",
        "gh variable set SERVICE_ACCOUNT --repo acme/model --body "
        "releaser@my-project.iam.gserviceaccount.com",
        "gh variable set STAGING --repo acme/model --body staging",
        "gh variable set STAGING_ACCOUNT --repo acme/model --body "
        "staging-deployer@my-project.iam.gserviceaccount.com",
        "gh variable set PRODUCTION --repo acme/model --body production",
        "gh variable set PRODUCTION_ACCOUNT --repo acme/model --body "
        "production-deployer@my-project.iam.gserviceaccount.com",
    ]


def test_a_second_run_creates_nothing_and_sets_everything_again(cloud: Cloud) -> None:
    text = script(TEMPLATE, SETUP, "123", "45")
    cloud.run(text)
    _, commands = cloud.run(text)
    assert verbs(commands) == set()
    assert any(" update-oidc github " in line for line in commands)
    assert any(" repositories update models " in line and "--immutable-tags" in line for line in commands)
    assert any("delete-cleanup-policies models" in line and "=untagged" in line for line in commands)


@pytest.mark.parametrize(
    "kind", ["iam-workload-identity-pools-releases", "iam-workload-identity-pools-providers-github"]
)
def test_what_was_deleted_lately_is_taken_back(cloud: Cloud, kind: str) -> None:
    text = script(TEMPLATE, SETUP, "123", "45")
    cloud.run(text)
    (cloud.folder / "state" / kind).write_text("DELETED\n")
    _, commands = cloud.run(text)
    assert verbs(commands) == {"undelete"}


POOL = "principalSet://iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/releases"


def bindings(commands: list[str]) -> set[tuple[str, str, str]]:
    """Return on what which role is given to whom, each without the project."""
    bound = [line.replace("\\", "").split() for line in commands if "add-iam-policy-binding" in line]
    found = set()
    for words in bound:
        named = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
        member = named["--member"].removesuffix("@my-project.iam.gserviceaccount.com").replace(POOL, "POOL")
        resource = words[words.index("add-iam-policy-binding") + 1].partition("@")[0]
        found.add((f"{words[0]} {resource}", named["--role"].removeprefix("roles/"), member))
    return found


def test_each_account_may_do_one_thing_and_be_used_by_its_own_jobs_only(
    first_run: tuple[str, list[str]],
) -> None:
    _, commands = first_run
    staging, production = "serviceAccount:staging-deployer", "serviceAccount:production-deployer"
    deploying = {
        (f"run {service}", role, member)
        for service, member in (("milestone2-staging", staging), ("milestone2", production))
        for role in ("run.developer", "run.invoker")
    }
    common = {
        (resource, role, member)
        for member in (staging, production)
        for resource, role in (
            ("iam runtime", "iam.serviceAccountUser"),
            ("artifacts models", "artifactregistry.reader"),
            ("projects my-project", "run.viewer"),
            ("projects my-project", "monitoring.viewer"),
        )
    }
    assert bindings(commands) == {
        ("iam releaser", "iam.workloadIdentityUser", "POOL/attribute.repository_id/123"),
        ("artifacts models", "artifactregistry.writer", "serviceAccount:releaser"),
        ("iam staging-deployer", "iam.workloadIdentityUser", "POOL/attribute.environment/123:staging"),
        ("iam production-deployer", "iam.workloadIdentityUser", "POOL/attribute.environment/123:production"),
        *deploying,
        *common,
    }


def test_the_wider_rights_of_earlier_versions_are_taken_back(first_run: tuple[str, list[str]]) -> None:
    _, commands = first_run
    taken = [line.partition("--role=roles/")[2].split()[:2] for line in commands if " remove-iam-" in line]
    member = "--member=serviceAccount:releaser@my-project.iam.gserviceaccount.com"
    roles = ("run.developer", "run.invoker", "monitoring.viewer", "iam.serviceAccountUser")
    assert taken == [[role, member] for role in roles]


def test_services_are_made_as_private_ones_that_run_as_an_account_of_their_own(
    first_run: tuple[str, list[str]],
) -> None:
    _, commands = first_run
    made = [line for line in commands if line.startswith("run deploy ")]
    assert [line.split()[2] for line in made] == ["milestone2-staging", "milestone2"]
    assert all("--no-allow-unauthenticated --service-account=runtime@my-project" in line for line in made)


def test_rules_for_tags_and_for_production_are_printed_as_calls_of_github_s_api(
    first_run: tuple[str, list[str]],
) -> None:
    printed, _ = first_run
    calls = re.findall(r"^gh api (.*)$", printed, re.MULTILINE)
    assert [call.split()[2] for call in calls] == [
        "repos/acme/model/rulesets",
        "repos/acme/model/environments/production",
        "repos/acme/model/environments/production/deployment-branch-policies",
    ]
    tags, environment = re.findall(r"<<'JSON'\n(.*?)\nJSON$", printed, re.MULTILINE | re.DOTALL)
    rules = json.loads(tags)
    assert (rules["target"], rules["conditions"]["ref_name"]["include"]) == ("tag", ["refs/tags/v*"])
    assert {rule["type"] for rule in rules["rules"]} == {"creation", "update", "deletion"}
    reviewed = json.loads(environment.replace("REVIEWER", "7"))
    assert (reviewed["prevent_self_review"], reviewed["reviewers"]) == (True, [{"type": "User", "id": 7}])
    assert calls[2].endswith("-f name='v*' -f type=tag")
    assert printed.count("Without it, ") == 3


def test_the_table_of_who_has_to_sign_is_printed_filled(first_run: tuple[str, list[str]]) -> None:
    printed, _ = first_run
    table = printed[printed.index("[signature]\n") :]
    assert Environments.of(table).policy() == Policy("123", "45")


def test_one_account_for_two_things_is_refused() -> None:
    with pytest.raises(InvalidSetup, match="have to be different accounts"):
        Setup("my-project", "acme/model", staging_account="releaser")


def test_who_deploys_nothing_gets_no_rights_to(cloud: Cloud) -> None:
    setup = Setup("my-project", "acme/model", runtime_account="")
    printed, commands = cloud.run(script(TEMPLATE, setup, "123", "45"))
    assert not [line for line in commands if "run." in line or "runtime" in line]
    assert "STAGING" not in printed


def test_runs_of_the_repository_push_by_themselves_without_a_service_account(cloud: Cloud) -> None:
    setup = Setup("my-project", "acme/model", service_account="", runtime_account="")
    printed, commands = cloud.run(script(TEMPLATE, setup, "123", "45"))
    (bound,) = [line for line in commands if "add-iam-policy-binding" in line]
    assert "artifacts repositories" in bound
    assert "/attribute.repository_id/123" in bound
    assert "SERVICE_ACCOUNT" not in printed
    assert not any("service-accounts" in line for line in commands)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project", "123456"),
        ("project", "x; rm -rf /"),
        ("github_repository", "model"),
        ("location", "US"),
        ("repository", "My-Models"),
        ("pool", "gcp-pool"),
        ("provider", "abc"),
        ("service_account", "releaser@my-project.iam.gserviceaccount.com"),
        ("runtime_account", "a b"),
        ("staging_account", ""),
        ("production_account", "a@b"),
        ("region", "us"),
        ("staging_service", "Staging"),
        ("production_service", ""),
    ],
)
def test_a_name_that_google_would_refuse_is_refused(name: str, value: str) -> None:
    names = {"project": "my-project", "github_repository": "acme/model"} | {name: value}
    with pytest.raises(InvalidSetup, match=f"setup: {name.replace('_', ' ')} cannot be .*; write "):
        Setup(**names)


def test_ids_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidCondition, match="is no repository id"):
        script(TEMPLATE, SETUP, "acme", "45")


def test_a_script_without_a_place_for_settings_is_refused() -> None:
    with pytest.raises(InvalidSetup, match="has no line"):
        script(TEMPLATE.replace(PLACE, ""), SETUP, "123", "45")


def github(answer: httpx.Response) -> Retrying:
    return Retrying(httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer)))


async def test_ids_come_from_github() -> None:
    client = github(httpx.Response(200, json={"id": 123, "owner": {"id": 45}}))
    assert await github_ids("acme/model", "https://api.github.com", client) == ("123", "45")


@pytest.mark.parametrize(
    "answer", [httpx.Response(404, json={"message": "Not Found"}), httpx.Response(200, json={})]
)
async def test_ids_that_github_does_not_return_are_required(answer: httpx.Response) -> None:
    with pytest.raises(
        InvalidSetup, match="private or misspelt; pass --repository-id and --owner-id, which `gh api"
    ):
        await github_ids("acme/model", "https://api.github.com", github(answer))

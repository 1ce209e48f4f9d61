"""The workflow as GitHub reads it; tests/host/test_release.py runs its lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from advice.attribute_mapping import WORKFLOW
from main import Ci

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / WORKFLOW).read_text()
FILE: dict[str, Any] = YAML(typ="safe").load(TEXT)
JOBS: dict[str, Any] = FILE["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
IDENTITY = "id-token"
DEPLOYING = ("deploy-staging", "promote")
REQUEST = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


def test_it_is_the_only_workflow() -> None:
    assert [path.name for path in (ROOT / WORKFLOW).parent.iterdir()] == [Path(WORKFLOW).name]


def test_version_tags_main_and_pull_requests_start_it_and_nothing_else_does() -> None:
    assert FILE["on"] == {"pull_request": None, "push": {"branches": ["main"], "tags": ["v*.*.*"]}}


def test_a_tag_is_released_by_one_job_and_everything_else_is_checked() -> None:
    assert list(JOBS) == ["check", "publish", *DEPLOYING]
    assert JOBS["check"]["if"] == "github.ref_type != 'tag'"
    assert JOBS["publish"]["if"] == "github.ref_type == 'tag'"
    assert not {"needs"} & (set(JOBS["check"]) | set(JOBS["publish"]))


def test_staging_gets_the_very_digest_that_was_published() -> None:
    publish, deploy = JOBS["publish"], JOBS["deploy-staging"]
    last = publish["steps"][-1]
    assert publish["outputs"] == {"image": f"${{{{ steps.{last['id']}.outputs.image }}}}"}
    assert 'echo "image=$image" >> "$GITHUB_OUTPUT"' in last["run"]
    assert deploy["steps"][-1]["env"]["IMAGE"] == "${{ needs.publish.outputs.image }}"
    assert '--image "$IMAGE"' in deploy["steps"][-1]["run"]


def test_a_release_goes_to_staging_and_from_there_to_production_after_an_approval() -> None:
    assert [JOBS[name]["needs"] for name in DEPLOYING] == ["publish", "deploy-staging"]
    assert [JOBS[name]["if"] for name in DEPLOYING] == ["vars.STAGING != ''", "vars.PRODUCTION != ''"]
    assert [JOBS[name].get("environment") for name in DEPLOYING] == ["staging", "production"]
    assert [JOBS[name]["concurrency"] for name in DEPLOYING] == ["deploy-staging", "deploy-production"]


def test_only_a_pull_request_s_run_is_canceled_by_the_next_one() -> None:
    assert FILE["concurrency"] == {
        "group": "${{ github.workflow }}-${{ github.ref }}",
        "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
    }


def test_a_job_has_no_permission_but_those_it_names_and_the_tests_have_no_identity() -> None:
    assert FILE["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "check": {"contents": "read"},
        **{name: {"contents": "read", IDENTITY: "write"} for name in ("publish", *DEPLOYING)},
    }


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_on_a_named_release_of_the_runner_and_not_for_ever(name: str) -> None:
    assert re.fullmatch(r"ubuntu-\d\d\.\d\d", JOBS[name]["runs-on"])
    assert JOBS[name]["timeout-minutes"] <= 90  # training may work for half an hour


@pytest.mark.parametrize("name", JOBS)
def test_a_job_checks_out_installs_dagger_and_calls_one_function(name: str) -> None:
    checkout, install, call = JOBS[name]["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    assert checkout["with"] == {"persist-credentials": False}
    assert install["run"] == "./daggerw --install"
    assert re.fullmatch(r"dagger call [\w-]+( --[a-z-]+ [^ ;|&`]+)*", list_calls(call))


def list_calls(step: dict[str, Any]) -> str:
    """Return the call in a step's lines, which may keep what it prints as the step's output."""
    run = step["run"].replace(" \\\n ", "")
    kept = re.fullmatch(r'image=\$\((.*)\)\necho "\$image"\necho "image=\$image" >> "\$GITHUB_OUTPUT"\n', run)
    return kept[1] if kept else str(run)


def test_actions_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: *(.+)", TEXT)
    assert len(used) == len(JOBS)
    for action in used:
        assert re.fullmatch(r"actions/checkout@[0-9a-f]{40} # v[\d.]+", action)


def test_jobs_call_functions_of_the_pipeline_with_arguments_that_they_take() -> None:
    functions = Ci.__dagger_module__.get_object("Ci").functions  # type: ignore[attr-defined]
    calls = [list_calls(job["steps"][-1]).split() for job in JOBS.values()]
    assert [words[2] for words in calls] == ["check", "publish", "deploy", "promote"]
    for words in calls:
        given = {word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
        assert given <= {each.name for each in functions[words[2]].parameters.values()}


def test_lines_hold_no_expression_and_no_secret() -> None:
    assert "${{" not in "".join(step.get("run", "") for step in STEPS)
    assert "secrets" not in TEXT


def test_a_release_takes_exactly_the_variables_that_the_set_up_names() -> None:
    named = set(
        re.findall(
            r"^ *(?:\[\[.*)?variable (\w+)", (ROOT / "deploy/google/setup.sh").read_text(), re.MULTILINE
        )
    )
    identity, given = {"WORKLOAD_IDENTITY_PROVIDER"}, {"GITHUB_REF_NAME", "IMAGE"}
    taken = {
        "publish": {"REGISTRY", "SERVICE_ACCOUNT"},
        "deploy-staging": {"STAGING", "STAGING_ACCOUNT"},
        "promote": {"STAGING", "PRODUCTION", "PRODUCTION_ACCOUNT"},
    }
    for name, own in taken.items():
        last = JOBS[name]["steps"][-1]
        variables = {each: f"${{{{ vars.{each} }}}}" for each in own | identity}
        assert {key: value for key, value in last["env"].items() if key != "IMAGE"} == variables
        assert set(re.findall(r'"\$(\w+)"', list_calls(last))) - given == own | identity
    assert set().union(*taken.values(), identity) == named


def test_a_release_says_who_it_is_with_github_s_own_token_request() -> None:
    for name in ("publish", *DEPLOYING):
        run = JOBS[name]["steps"][-1]["run"]
        assert re.findall(r"--oidc-\w+ env:(\w+)", run) == list(REQUEST)


def test_what_is_not_a_release_has_no_variables() -> None:
    last = [JOBS[name]["steps"][-1] for name in ("publish", *DEPLOYING)]
    assert [step for step in STEPS if "env" in step] == last

"""deploy/environments.toml: its settings, and errors with their line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from deploying.environments import FILE, TARGETS, Common, Environments
from deploying.rollout.verdict import Limits
from deploying.targets import cloud_run, kubernetes, swarm
from errors import InvalidEnvironment
from signing.policy import Policy

EXAMPLE = (Path(__file__).parents[3] / FILE).read_text()
SIGNATURE = "[signature]\nrepository_id = '2002'\nowner_id = '1001'\n"
CLOUD_RUN = """# a comment
[staging]
target = "cloud-run"
project = "my-project"
region = "us-central1"
service = "model"
"""


def test_the_documented_example_can_be_read_and_shows_every_target() -> None:
    environments = Environments.of(EXAMPLE)
    found = [environments.find(name) for name in environments.names]
    assert {type(each.settings) for each in found} == set(TARGETS.values())


def test_an_environment_has_its_settings_and_defaults_for_the_rest() -> None:
    found = Environments.of(CLOUD_RUN + 'maximum = 3\nregistry = "a.test/b"\nstep_seconds = 5\n').find(
        "staging"
    )
    assert found.settings == cloud_run.Settings("my-project", "us-central1", "model", maximum=3)
    assert found.common == Common("a.test/b", 5)


def test_an_environment_has_its_limits_and_defaults_for_the_rest() -> None:
    environments = Environments.of(f"{CLOUD_RUN}[staging.limits]\nrequests = 50\np95_seconds = 2\n")
    assert environments.find("staging").common.limits == Limits(requests=50, p95_seconds=2)
    assert environments.names == ["staging"]
    assert Environments.of(CLOUD_RUN).find("staging").common.limits == Limits()


def test_the_documented_limits_are_all_there_are_with_their_defaults() -> None:
    _, _, after = EXAMPLE.partition("# [staging.limits]")
    text = "\n".join(line.removeprefix("# ") for line in after.partition("\n\n")[0].splitlines())
    assert tomllib.loads(text) == asdict(Limits())


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (
            '[p]\ntarget="kubernetes"\nserver="https://k"\nnamespace="n"\nname="m"\n',
            kubernetes.Settings("https://k", "n", "m"),
        ),
        ('[p]\ntarget="swarm"\nname="m"\norder="stop-first"\n', swarm.Settings("m", order="stop-first")),
        ('["p"]\n"target"="swarm"\nname="m"\n', swarm.Settings("m")),
    ],
)
def test_each_target_has_its_own_settings(text: str, settings: object) -> None:
    assert Environments.of(text).find("p").settings == settings


def test_without_a_table_no_signature_is_demanded() -> None:
    assert Environments.of(CLOUD_RUN).policy() is None


def test_the_table_of_signatures_is_a_policy_and_no_environment() -> None:
    environments = Environments.of(f"{SIGNATURE}runner = 'self-hosted'\n{CLOUD_RUN}")
    assert environments.policy() == Policy("2002", "1001", runner="self-hosted")
    assert environments.names == ["staging"]
    with pytest.raises(
        InvalidEnvironment, match=r"has no environment 'signature'; there are: staging \(line"
    ):
        environments.find("signature")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("signature = 1", "signature is 1; write it as a table"),
        (SIGNATURE + "branch = 'main'\n", r"line 4: \[signature\] branch is no setting there; there are rep"),
        (SIGNATURE + "runner = 1\n", r"line 4: \[signature\] runner is 1; write a text in quotes"),
        (SIGNATURE.replace("'2002'", "2002"), r"line 2: \[signature\] repository_id is 2002; write a text"),
        (SIGNATURE.replace("2002", "REPOSITORY_ID"), r"line 2: .* is 'REPOSITORY_ID'; write the number that"),
        (
            "[signature]\nrepository_id = '2002'\n",
            r"line 1: \[signature\] owner_id is None; write the",
        ),
    ],
)
def test_a_policy_that_cannot_be_right_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(InvalidEnvironment, match=problem):
        Environments.of(text).policy()


def test_the_documented_policy_can_be_read_once_its_numbers_are_written() -> None:
    commented = EXAMPLE[EXAMPLE.index("# [signature]") :].partition("\n\n")[0]
    text = "\n".join(line.removeprefix("# ") for line in commented.splitlines())
    policy = Environments.of(text.replace("REPOSITORY_ID", "2002").replace("OWNER_ID", "1001")).policy()
    assert policy == Policy("2002", "1001")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (CLOUD_RUN + "\nsteps = \n", 8, "Invalid value"),
        (CLOUD_RUN + "[staging]\n", 7, "Cannot declare"),
        (
            CLOUD_RUN.replace("cloud-run", "heroku"),
            3,
            "target is 'heroku'; write one of cloud-run, kubernetes",
        ),
        (CLOUD_RUN.replace('target = "cloud-run"', ""), 2, "target is 'None'; write one of"),
        (
            CLOUD_RUN.replace("region", "regoin"),
            5,
            "regoin is no setting of cloud-run; there are account, collector, cpu",
        ),
        (CLOUD_RUN.replace('"us-central1"', "1"), 5, "region is 1; write a text in quotes"),
        (CLOUD_RUN + "\n\nmaximum = '3'\n", 9, "maximum is '3'; write a whole number"),
        (CLOUD_RUN + "maximum = true\n", 7, "maximum is True; write a whole number"),
        (CLOUD_RUN + "maximum = -1\n", 7, "maximum is -1; write a number that is not negative"),
        (CLOUD_RUN.replace('service = "model"\n', ""), 3, "target needs a setting 'service' beside it"),
        (
            '[other]\norder = 1\n\n[staging]\ntarget = "swarm"\nname = "m"\norder = "x"\n',
            7,
            "order is 'x'; write",
        ),
        (CLOUD_RUN + "[staging.more]\na = 1\n", 2, "more is no setting"),
        (CLOUD_RUN + "limits = 1\n", 7, "limits is 1; write it as a table [staging.limits]"),
        (CLOUD_RUN + "[staging.limits]\np95 = 1\n", 8, "p95 is no limit; there are requests, timed"),
        (CLOUD_RUN + "[staging.limits]\np95_seconds = '1'\n", 8, "p95_seconds is '1'; write a number"),
        (CLOUD_RUN + "[staging.limits]\np95_seconds = nan\n", 8, "is nan; write a number that is not neg"),
        (CLOUD_RUN + "[staging.limits]\np95_seconds = inf\n", 8, "is inf; write a number that is not neg"),
        (CLOUD_RUN + "[staging.limits]\nrequests = 1.5\n", 8, "requests is 1.5; write a whole number"),
        (CLOUD_RUN + "[staging.limits]\nerror_share = 2\n", 8, "is 2; write a part of one: 0.01 is 1 %"),
    ],
)
def test_what_cannot_be_right_is_named_with_its_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(InvalidEnvironment, match=re.escape(problem)) as raised:
        Environments.of(text).find("staging")
    assert str(raised.value).startswith(f"deploy/environments.toml, line {line}: ")


def test_an_unfinished_file_is_named_by_its_end() -> None:
    with pytest.raises(InvalidEnvironment, match=r"environments.toml, end of document: "):
        Environments.of('a = """')


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (CLOUD_RUN, "staging (line 3)"),
        (f"{CLOUD_RUN}[live]\ntarget = 'swarm'", "staging (line 3), live (line 8)"),
        ("", "none"),
        ("production = 1", "production (line 1)"),
    ],
)
def test_an_environment_that_there_is_not_is_named_beside_those_that_there_are(text: str, known: str) -> None:
    with pytest.raises(InvalidEnvironment) as raised:
        Environments.of(text).find("production")
    assert raised.value.message.endswith(f": has no environment 'production'; there are: {known}")

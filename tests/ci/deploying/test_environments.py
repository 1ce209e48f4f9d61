"""deploy/environments.toml: what it can say, and in which line it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploying.environments import FILE, TARGETS, Common, Environments
from deploying.targets import cloud_run, kubernetes, swarm
from errors import InvalidEnvironment

EXAMPLE = (Path(__file__).parents[3] / FILE).read_text()
CLOUD_RUN = """# a comment
[staging]
target = "cloud-run"
project = "my-project"
region = "us-central1"
service = "model"
"""


def test_the_documented_example_can_be_read_and_shows_every_target() -> None:
    environments = Environments.of(EXAMPLE)
    found = [environments.named(name) for name in environments.tables]
    assert {type(each.settings) for each in found} == set(TARGETS.values())


def test_an_environment_has_its_settings_and_defaults_for_the_rest() -> None:
    found = Environments.of(CLOUD_RUN + 'maximum = 3\nregistry = "a.test/b"\nstep_seconds = 5\n').named(
        "staging"
    )
    assert found.settings == cloud_run.Settings("my-project", "us-central1", "model", maximum=3)
    assert found.common == Common("a.test/b", 5)


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
    assert Environments.of(text).named("p").settings == settings


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
    ],
)
def test_what_cannot_be_right_is_named_with_its_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(InvalidEnvironment, match=re.escape(problem)) as raised:
        Environments.of(text).named("staging")
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
        Environments.of(text).named("production")
    assert str(raised.value).endswith(f": has no environment 'production'; there are: {known}")

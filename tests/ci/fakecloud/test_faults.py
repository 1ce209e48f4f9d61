"""Faults of the fake cloud: their syntax, and how often each strikes."""

import subprocess
import sys

import pytest

from errors import InvalidFault
from fakecloud.state.faults import ClockSkew, Fault, Faults, parse, skew
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sts:503x2", Fault("sts", "503", 2)),
        ("sts:503x99", Fault("sts", "503", 99)),
        ("iam:timeout", Fault("iam", "timeout", 1)),
        ("registry:reset", Fault("registry", "reset", 1)),
        ("oidc:401", Fault("oidc", "401", 1)),
        ("token:429x3", Fault("token", "429", 3)),
        ("clock:+90s", ClockSkew(90)),
        ("clock:-400s", ClockSkew(-400)),
    ],
)
def test_a_fault_names_an_endpoint_and_what_goes_wrong(text: str, fault: object) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        *("", "sts", "sts:", "sts:200", "sts:600", "sts:503x", "sts:503x0", "sts:503 x2", "STS:503"),
        *("clock:90s", "clock:+0s", "clock:+90", "sts:+90s", "sts:slow", "sts:503x2,iam:timeout"),
        "sts:503x2\n",
    ],
)
def test_what_is_no_fault_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidFault, match="is no fault; write one like sts:503x2"):
        parse(text)


def test_an_unknown_endpoint_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidFault, match="'clock:503' names no endpoint.* oidc, sts, iam,"):
        parse("clock:503")


def test_a_fault_strikes_its_endpoint_as_often_as_given() -> None:
    faults = Faults.of([parse("sts:503x2"), parse("clock:+90s")])
    struck = [faults.strike(endpoint, body=True) for endpoint in ("iam", "sts", "sts", "sts")]
    assert [fault is not None for fault in struck] == [False, True, True, False]


def test_faults_of_one_endpoint_strike_in_turn() -> None:
    faults = Faults.of([parse("sts:503"), parse("sts:429")])
    assert [fault and fault.what for fault in (faults.strike("sts", body=True) for _ in range(3))] == [
        "503",
        "429",
        None,
    ]


def test_a_reset_of_the_registry_waits_for_an_upload() -> None:
    faults = Faults.of([parse("registry:reset")])
    assert faults.strike("registry", body=False) is None
    assert faults.strike("registry", body=True) is not None


def test_clocks_add_up() -> None:
    assert skew([parse("clock:+90s"), parse("sts:503"), parse("clock:-30s")]) == 60


def test_what_the_pipeline_imports_of_the_rehearsal_needs_no_library() -> None:
    imports = "import fakecloud.addresses, fakecloud.state.faults, fakecloud.state.fixtures"
    environment = {"PYTHONPATH": str(ROOT / "ci")}
    done = subprocess.run([sys.executable, "-S", "-c", imports], env=environment, check=False)
    assert done.returncode == 0

"""`daggerw check`: check functions, patterns, and the report of a failed check."""

from __future__ import annotations

import os

import pytest

from daggerw_engine.command.checks import choose, find_checks
from daggerw_engine.command.modules.typedefs import Argument, Catalogue, Function, ObjectType, TypeRef, Types
from daggerw_engine.errors import UsageError
from engine_fixtures import Run

TEXT = TypeRef("String")


def catalogue() -> Catalogue:
    """Return a module with the checks lint and test:unit."""
    needing = Function("needing", TEXT, arguments=(Argument("path", TEXT),), check=True)
    again = Function("main", TypeRef("Main"))
    test = ObjectType("Test", {"unit": Function("unit", TEXT, check=True), "main": again})
    main = ObjectType(
        "Main",
        {
            "lint": Function("lint", TEXT, check=True),
            "build": Function("build", TEXT),
            "needing": needing,
            "test": Function("test", TypeRef("Test")),
        },
        Function("", TypeRef("Main")),
    )
    return Catalogue(Types("Main", {"Main": main, "Test": test}), lambda: Types("", {}))


def test_checks_are_found_below_functions_that_need_nothing() -> None:
    found = find_checks(catalogue())
    assert {name: [function.name for function in path] for name, path in found.items()} == {
        "lint": ["lint"],
        "test:unit": ["test", "unit"],
    }


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["lint", "test:unit"]),
        (["lint"], ["lint"]),
        (["test"], ["test:unit"]),
        (["test:Unit", "l*"], ["lint", "test:unit"]),
    ],
)
def test_patterns_choose_checks_and_those_below_them(patterns: list[str], names: list[str]) -> None:
    assert list(choose(find_checks(catalogue()), patterns)) == names


def test_a_pattern_for_no_check_is_refused() -> None:
    with pytest.raises(UsageError, match="no check is named 'lin'; did you mean lint"):
        choose(find_checks(catalogue()), ["lin"])


def test_list_shows_the_checks_and_runs_none(run: Run) -> None:
    done = run("check", "-l")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Name     Description\nbreaks   Break.\nholds    Hold.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
def test_a_failed_check_is_reported_and_the_others_run(run: Run) -> None:
    done = run("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert "breaks: FunctionError: it broke\n" in done.stderr
    assert "check holds\n" in done.stderr
    assert done.stderr.endswith("Error: 1 of 2 checks failed\nrunbook: engine.failed\n")
    assert run("check", "holds").returncode == 0

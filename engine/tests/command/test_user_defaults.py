"""Arguments from .env files: files, names, and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from daggerw_engine.command.arguments.user_defaults import UserDefaults
from daggerw_engine.command.modules import module
from daggerw_engine.errors import UsageError


@pytest.fixture
def project(example: Path, tmp_path: Path) -> Path:
    """Return a project folder with a link to the example module, for both .env files."""
    (tmp_path / "module").mkdir()
    for entry in example.iterdir():
        (tmp_path / "module" / entry.name).symlink_to(entry)
    return tmp_path


def defaults(project: Path, **environment: str) -> UserDefaults:
    return UserDefaults.of(module.load(project / "module"), project, environment)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("GREETING=hi", ("", "", "greeting")),
        ("export greeting=hi", ("", "", "greeting")),
        ("GREET_NAME=hi", ("", "greet", "name")),
        ("with_exec_name=hi", ("", "withExec", "name")),
        ("WITHEXEC_NAME=hi", ("", "withExec", "name")),
        ("STEP_SHOUT_NAME=hi", ("Step", "shout", "name")),
    ],
)
def test_the_modules_own_file_names_arguments(line: str, call: tuple[str, str, str], project: Path) -> None:
    (project / "module/.env").write_text(f"# a comment\n\n{line}\n")
    assert defaults(project).text(*call) == "hi"
    assert defaults(project).text(*call[:2], "other") is None


def test_the_callers_file_names_the_module_first_and_wins(project: Path) -> None:
    (project / "module/.env").write_text("GREETING=inner\n")
    (project / ".env").write_text("GREETING=another program's\n")
    assert defaults(project).text("", "", "greeting") == "inner"
    (project / ".env").write_text("EXAMPLE_GREETING=outer\nEXAMPLE_GREET_NAME=you\n")
    assert defaults(project).text("", "", "greeting") == "outer"
    assert defaults(project).text("", "greet", "name") == "you"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain words", "plain words"),
        ("'$HOST'", "$HOST"),
        ('"a $HOST"', "a machine"),
        ("${HOST}/x", "machine/x"),
        ("${MISSING:-else}", "else"),
        ("$OTHER!", "from machine!"),
        ("a\\$b", "a$b"),
        ("a # said aside", "a"),
    ],
)
def test_a_value_is_read_as_a_shell_does(value: str, text: str, project: Path) -> None:
    (project / "module/.env").write_text(f"GREETING={value}\nOTHER=from $HOST\n")
    assert defaults(project, HOST="machine").text("", "", "greeting") == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("$MISSING", "GREETING refers to the variable MISSING, which isn't set"),
        ("$GREETING", "GREETING refers to the variable GREETING"),
        ("$(id)", "GREETING has a command in it"),
        ("`id`", "GREETING has a command in it"),
    ],
)
def test_a_value_that_cannot_be_had_is_refused(value: str, why: str, project: Path) -> None:
    (project / "module/.env").write_text(f"GREETING={value}\n")
    with pytest.raises(UsageError, match=why):
        defaults(project).text("", "", "greeting")

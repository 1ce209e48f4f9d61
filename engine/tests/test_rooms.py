"""Directions of imports in the engine, including those for types only: no room imports one above it."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from engine_fixtures import DISTRIBUTION, TESTS

PACKAGE = DISTRIBUTION / "daggerw_engine"
# From the lowest: the package's own modules, then its folders.
ROOMS = ["", "files", "isolation", "values", "store", "run"]
ROOMS += ["api.clients", "api.fields", "api.queries", "api"]
ROOMS += ["command.modules", "command.arguments", "command.calls", "command"]
BEGINNING = "daggerw_engine.__main__"
# dagger-io brings beartype, in whose terms it describes a module's types.
INSTALLED = {"beartype", "dagger", "graphql", "pathspec", "uvicorn"}


def name_of(path: Path) -> str:
    """Return a file's name as a module."""
    return ".".join(path.relative_to(DISTRIBUTION).with_suffix("").parts).removesuffix(".__init__")


FOLDERS = sorted({path.parent for room in (PACKAGE, TESTS) for path in room.rglob("*.py")})
MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> set[str]:
    """Return the modules that a module imports, at any position and for any purpose."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each if each in MODULES else str(node.module) for each in names}
    return found


def room_of(name: str) -> int:
    """Return the level of a module's room; a package's own name is its room's."""
    room = name.removeprefix("daggerw_engine").removeprefix(".")
    while room not in ROOMS:
        room = room.rpartition(".")[0]
    return ROOMS.index(room)


def ours(name: str) -> set[str]:
    return {each for each in imports(name) if each.split(".")[0] == "daggerw_engine"}


def test_every_folder_is_a_room_that_says_what_it_is_for() -> None:
    folders = [name_of(path).partition(".")[2] for path in PACKAGE.rglob("__init__.py")]
    assert sorted(folders) == sorted(ROOMS)
    assert all(ast.get_docstring(ast.parse(path.read_text())) for path in PACKAGE.rglob("__init__.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(DISTRIBUTION)))
def test_a_room_has_a_dozen_modules_at_most(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12


@pytest.mark.parametrize("name", [name for name in MODULES if name.count(".") and name != BEGINNING])
def test_no_module_imports_from_a_room_above_its_own(name: str) -> None:
    assert {each for each in ours(name) if room_of(each) > room_of(name)} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    order = TopologicalSorter({name: ours(name) for name in MODULES}).static_order()
    assert set(order) >= set(MODULES)  # CycleError when there is one


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_the_engine_and_what_is_declared_and_nothing_else(name: str) -> None:
    foreign = {each.split(".")[0] for each in imports(name) - ours(name)}
    assert foreign <= INSTALLED | sys.stdlib_module_names


def test_the_command_line_is_where_all_begins() -> None:
    importing = {
        name for name in MODULES if any(each.startswith("daggerw_engine.command") for each in ours(name))
    }
    assert {name for name in importing if not name.startswith("daggerw_engine.command.")} == {BEGINNING}

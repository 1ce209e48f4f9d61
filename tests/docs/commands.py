"""Commands in documents: check that all that they name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from daggerw_engine.command.cache_command import PAGE
from main import Ci

ROOT = Path(__file__).parents[2]
FUNCTIONS = {
    name.replace("_", "-"): function
    for name, function in Ci.__dagger_module__.get_object("Ci").functions.items()  # type: ignore[attr-defined]
}
CALL = re.compile(r"(?:\./daggerw|dagger) call ([a-z][a-z-]*)((?: (?:[^`|#\n]|\n\s*(?=-))+)?)")
OTHER = re.compile(r"\./daggerw (?!call\b|--)([a-z]+)(?: ([a-z]+))?")
PATHS = re.compile(r"`((?:\.ci|app|bench|ci|deploy|docs|engine|tests|training)/[\w./*-]*)`")
PYTHON = re.compile(r"python (?:-m )?([\w./]+)")
# Of objects that functions return, and of the command line itself.
ELSEWHERE = {"path", "ports", "help", "output", "auto-apply"}


def problems(text: str, folder: Path = ROOT) -> list[str]:
    """Return the names in a document that don't exist: functions, flags, commands, files."""
    return [*_calls(text), *_others(text), *_paths(text, folder)]


def _calls(text: str) -> Iterator[str]:
    for name, rest in CALL.findall(text):
        if name not in FUNCTIONS:
            yield f"there is no function {name}"
            continue
        known = {each.name.replace("_", "-") for each in FUNCTIONS[name].parameters.values()}
        for flag in re.findall(r"--([a-z][a-z-]*)", rest):
            if flag not in known | ELSEWHERE:
                yield f"{name} has no --{flag}"


def _others(text: str) -> Iterator[str]:
    for command, word in OTHER.findall(text):
        if command not in {"functions", "cache"} or (command == "cache" and word and word not in PAGE):
            yield f"there is no ./daggerw {command} {word}"


def _paths(text: str, folder: Path) -> Iterator[str]:
    for path in PATHS.findall(text):
        if not any(list(above.glob(path.rstrip("/"))) for above in (ROOT, folder)):
            yield f"there is no {path}"

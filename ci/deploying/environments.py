"""Environments that releases run in: deploy/environments.toml, one table an environment.

[staging]
target = "cloud-run"    # or "kubernetes", "swarm"
project = "my-project"  # and the target's other settings
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from deploying.targets import cloud_run, kubernetes, swarm
from errors import InvalidEnvironment

FILE = "deploy/environments.toml"
Settings = cloud_run.Settings | kubernetes.Settings | swarm.Settings
TARGETS: Mapping[str, type[Settings]] = {
    "cloud-run": cloud_run.Settings,
    "kubernetes": kubernetes.Settings,
    "swarm": swarm.Settings,
}
_AT = re.compile(r" \(at (line \d+), column \d+\)|\(at (end of document)\)")


@dataclass(frozen=True)
class Common:
    """What every environment can set: the registry that it pulls from, and how long a step is watched."""

    registry: str = ""
    step_seconds: int = 60


@dataclass(frozen=True)
class Environment:
    """One environment, and the line that names its target."""

    name: str
    common: Common
    settings: Settings
    line: int


@dataclass(frozen=True)
class Environments:
    """All of them, and the text that they come from."""

    text: str
    tables: Mapping[str, Any]

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what a file's text says; raises InvalidEnvironment when it is not TOML."""
        try:
            return cls(text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            at, what = _AT.search(str(error)), _AT.sub("", str(error))
            raise InvalidEnvironment(f"{FILE}, {at[1] or at[2] if at else 'somewhere'}: {what}") from error

    def named(self, name: str) -> Environment:
        """Return an environment; raises InvalidEnvironment with the line that cannot be right."""
        table = self.tables.get(name)
        if not isinstance(table, dict):
            listed = ", ".join(f"{each} (line {_line(self.text, each)})" for each in self.tables) or "none"
            raise InvalidEnvironment(f"{FILE}: has no environment {name!r}; there are: {listed}")
        target = str(table.get("target"))
        if target not in TARGETS:
            raise self._wrong(name, "target", f"is {target!r}; write one of {', '.join(TARGETS)}")
        common, own = fields(Common), fields(TARGETS[target])
        known = {"target", *(each.name for each in (*common, *own))}
        for key in table:
            if key not in known:
                raise self._wrong(
                    name, key, f"is no setting of {target}; there are {', '.join(sorted(known))}"
                )
        return Environment(
            name,
            Common(**self._values(name, table, Common)),
            TARGETS[target](**self._values(name, table, TARGETS[target])),
            _line(self.text, name),
        )

    def _values(self, name: str, table: Mapping[str, Any], kind: type) -> dict[str, Any]:
        """Return a dataclass's values out of a table."""
        hints, values = get_type_hints(kind), {}
        for each in fields(kind):
            if each.name in table:
                self._check(name, each, table[each.name], hints[each.name])
                values[each.name] = table[each.name]
            elif each.default is MISSING:
                raise self._wrong(name, "target", f"needs a setting {each.name!r} beside it")
        return values

    def _check(self, name: str, setting: "Field[Any]", value: object, hint: Any) -> None:
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise self._wrong(
                    name, setting.name, f"is {value!r}; write one of {', '.join(get_args(hint))}"
                )
        elif type(value) is not hint:
            raise self._wrong(name, setting.name, f"is {value!r}; write a {_KINDS[hint]}")
        elif isinstance(value, int) and value < 0:
            raise self._wrong(name, setting.name, f"is {value!r}; write a number that is not negative")

    def _wrong(self, name: str, key: str, problem: str) -> InvalidEnvironment:
        return InvalidEnvironment(f"{FILE}, line {_line(self.text, name, key)}: [{name}] {key} {problem}")


_KINDS = {str: "text in quotes", int: "whole number"}


def _line(text: str, table: str, key: str = "target") -> int:
    """Return where a table has a key, else where it begins: tables here are written plainly."""
    inside, begin = False, 1
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[", line):
            inside = re.match(rf"""\s*\[\s*["']?{re.escape(table)}["']?\s*\]""", line) is not None
            begin = number if inside else begin
        elif inside and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
    return begin

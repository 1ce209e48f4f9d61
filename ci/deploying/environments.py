"""Environments that releases run in: deploy/environments.toml, one table an environment.

[staging]
target = "cloud-run"    # or "kubernetes", "swarm"
project = "my-project"  # and the target's other settings

[staging.limits]        # what a release is judged by there
p95_seconds = 0.25

Read by hand: cattrs converts values (1 to "1"), and to turn its errors into these messages, with their lines,
takes more code.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from deploying.rollout.verdict import Limits
from deploying.targets import cloud_run, kubernetes, swarm
from errors import InvalidEnvironment
from signing.policy import Policy

FILE, SIGNATURE, LIMITS = "deploy/environments.toml", "signature", "limits"
Settings = cloud_run.Settings | kubernetes.Settings | swarm.Settings
TARGETS: Mapping[str, type[Settings]] = {
    "cloud-run": cloud_run.Settings,
    "kubernetes": kubernetes.Settings,
    "swarm": swarm.Settings,
}
_AT = re.compile(r" \(at (line \d+), column \d+\)|\(at (end of document)\)")


@dataclass(frozen=True)
class Common:
    """Settings of every environment: its registry, how long a step is watched, and what it is judged by."""

    registry: str = ""
    step_seconds: int = 60
    limits: Limits = field(default_factory=Limits)


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

    @property
    def names(self) -> list[str]:
        """Names of the environments, in the order of the file."""
        return [name for name in self.tables if name != SIGNATURE]

    def policy(self) -> Policy | None:
        """Return the policy for signatures, None when no signature is required; raises InvalidEnvironment."""
        table = self.tables.get(SIGNATURE)
        if table is None:
            return None
        if not isinstance(table, dict):
            raise InvalidEnvironment(f"{FILE}: {SIGNATURE} is {table!r}; write it as a table")
        self._check_names(SIGNATURE, table, [each.name for each in fields(Policy)], "setting there")
        for key in ("repository_id", "owner_id"):
            if not re.fullmatch("[0-9]+", str(table.get(key, "")), re.ASCII):
                why = f"is {table.get(key)!r}; write the number that GitHub gave it, in quotes"
                raise self._wrong(SIGNATURE, key, why)
        return Policy(**self._values(SIGNATURE, table, Policy))

    def find(self, name: str) -> Environment:
        """Return an environment; raises InvalidEnvironment with the line that cannot be right."""
        table = self.tables.get(name)
        if not isinstance(table, dict) or name == SIGNATURE:
            listed = ", ".join(f"{each} (line {_line(self.text, each)})" for each in self.names) or "none"
            raise InvalidEnvironment(f"{FILE}: has no environment {name!r}; there are: {listed}")
        target = str(table.get("target"))
        if target not in TARGETS:
            raise self._wrong(name, "target", f"is {target!r}; write one of {', '.join(TARGETS)}")
        known = {"target", *(each.name for each in (*fields(Common), *fields(TARGETS[target])))}
        self._check_names(name, table, sorted(known), f"setting of {target}")
        return Environment(
            name,
            self._common(name, table),
            TARGETS[target](**self._values(name, table, TARGETS[target])),
            _line(self.text, name),
        )

    def _common(self, name: str, table: Mapping[str, Any]) -> Common:
        """Return what every environment can set; its limits are a table of their own."""
        limits = table.get(LIMITS, {})
        if not isinstance(limits, dict):
            raise self._wrong(name, LIMITS, f"is {limits!r}; write it as a table [{name}.{LIMITS}]")
        self._check_names(f"{name}.{LIMITS}", limits, [each.name for each in fields(Limits)], "limit")
        plain = {key: value for key, value in table.items() if key != LIMITS}
        judged_by = Limits(**self._values(f"{name}.{LIMITS}", limits, Limits))
        return Common(**self._values(name, plain, Common), limits=judged_by)

    def _check_names(self, name: str, table: Mapping[str, Any], known: Sequence[str], kind: str) -> None:
        for key in table:
            if key not in known:
                raise self._wrong(name, key, f"is no {kind}; there are {', '.join(known)}")

    def _values(self, name: str, table: Mapping[str, Any], kind: type) -> dict[str, Any]:
        """Return a dataclass's values out of a table."""
        hints, values = get_type_hints(kind), {}
        for each in fields(kind):
            if each.name in table:
                self._check(name, each, table[each.name], hints[each.name])
                values[each.name] = table[each.name]
            elif each.default is MISSING and each.default_factory is MISSING:
                raise self._wrong(name, "target", f"needs a setting {each.name!r} beside it")
        return values

    def _check(self, name: str, setting: "Field[Any]", value: object, hint: Any) -> None:
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise self._wrong(
                    name, setting.name, f"is {value!r}; write one of {', '.join(get_args(hint))}"
                )
        elif type(value) not in ((int, float) if hint is float else (hint,)):
            raise self._wrong(name, setting.name, f"is {value!r}; write a {_KINDS[hint]}")
        elif isinstance(value, int | float) and not 0 <= value < math.inf:
            raise self._wrong(name, setting.name, f"is {value!r}; write a number that is not negative")
        elif isinstance(value, int | float) and "share" in setting.name and value > 1:
            raise self._wrong(name, setting.name, f"is {value!r}; write a part of one: 0.01 is 1 %")

    def _wrong(self, name: str, key: str, problem: str) -> InvalidEnvironment:
        return InvalidEnvironment(f"{FILE}, line {_line(self.text, name, key)}: [{name}] {key} {problem}")


_KINDS = {str: "text in quotes", int: "whole number", float: "number"}


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

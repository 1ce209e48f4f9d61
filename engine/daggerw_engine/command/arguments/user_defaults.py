"""Default arguments from the user's .env files, by Dagger's rules.

The .env beside dagger.json has ARGUMENT for the constructor and FUNCTION_ARGUMENT for another function. In
the nearest .env in or above the caller's folder, the module's name comes first: MODULE_ARGUMENT.
Case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.command.modules.module import Module
from daggerw_engine.command.modules.typedefs import command_name
from daggerw_engine.errors import UsageError

FILE = ".env"
LINE = re.compile(r"\s*(?:export\s+)?(?P<name>\w+)=(?P<value>.*)")
# A part of a value, as in a shell: single-quoted, double-quoted, escaped by a backslash, or bare.
PART = re.compile(r"""'(?P<plain>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)|(?P<bare>[^'"\\]+)""")
VARIABLE = re.compile(r"\$(?:(?P<name>\w+)|\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\})")
COMMENT = re.compile(r"(?:^|\s)#.*$")


@dataclass(frozen=True)
class UserDefaults:
    """Default texts by names below `module`, and all variables that they can refer to."""

    given: Mapping[str, str]
    variables: Mapping[str, str]
    environment: Mapping[str, str]

    @classmethod
    def of(cls, module: Module, folder: Path, environment: Mapping[str, str]) -> UserDefaults:
        """Read the .env files for a module called from `folder`; the outer file takes precedence."""
        inner = _read(module.root / FILE)
        outer: dict[str, str] = {}
        if above := next(
            (each / FILE for each in (folder, *folder.parents) if (each / FILE).is_file()), None
        ):
            outer = _read(above)
        given = {**inner, **_below(outer, module.name)}
        return cls(given, {**inner, **outer}, environment)

    def text(self, owner: str, function: str, argument: str) -> str | None:
        """Return an argument's text; `owner` is empty for the main object, `function` for its constructor."""
        found = self.given
        for name in filter(None, (owner, function)):
            found = _below(found, name)
        for name, value in found.items():
            if name.lower() == argument.lower():
                return self._expand(value, (name,))
        return None

    def _expand(self, value: str, seen: tuple[str, ...]) -> str:
        text = ""
        for part in PART.finditer(value):
            if part["plain"] is not None or part["escaped"] is not None:
                text += part["plain"] or part["escaped"] or ""
            else:
                bare = part["bare"] is not None
                raw = COMMENT.sub("", part["bare"]) if bare else re.sub(r"\\(.)", r"\1", part["quoted"])
                text += VARIABLE.sub(lambda match: self._variable(match, seen), raw)
        return text.strip()

    def _variable(self, match: re.Match[str], seen: tuple[str, ...]) -> str:
        name = match["name"] or match["braced"]
        if name in self.variables and name not in seen:
            return self._expand(self.variables[name], (*seen, name))
        found = self.environment.get(name, match["default"])
        if found is None:
            raise UsageError(f"{FILE}: {seen[0]} refers to the variable {name}, which isn't set")
        return found


def _read(path: Path) -> dict[str, str]:
    """Return a file's unexpanded variables; none when there is no such file."""
    if not path.is_file():
        return {}
    lines = (LINE.fullmatch(line) for line in path.read_text().splitlines())
    found = {line["name"]: line["value"] for line in lines if line}
    for name, value in found.items():
        if re.search(r"\$\(|`", value):
            raise UsageError(f"{path}: {name} has a command in it, which the embedded engine doesn't run")
    return found


def _below(variables: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the variables whose names start with `name`, with that prefix removed."""
    prefixes = {f"{prefix}_".lower() for prefix in _spellings(name)}
    return {
        key[len(prefix) :]: value
        for key, value in variables.items()
        for prefix in prefixes
        if key.lower().startswith(prefix)
    }


def _spellings(name: str) -> Iterable[str]:
    """Return a name's spellings: as one word, and with its words separated."""
    return re.sub(r"[-_]", "", name), command_name(name).replace("-", "_")

"""Which paths a list of ignore patterns leaves out.

The rules are those of a .dockerignore file, as Dagger's `exclude`, `include` and `Ignore` have them: patterns
are relative to the root, `*` stays within one name, `**` spans folders, a pattern also covers what lies below
the path it names, a leading `!` takes paths back in, and the last pattern that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Pattern:
    """One cleaned pattern."""

    text: str
    takes_back: bool
    expression: re.Pattern[str]

    def covers(self, path: str) -> bool:
        """Whether the pattern names `path` or a folder above it."""
        return self.expression.match(path) is not None

    def may_reach_below(self, folder: str) -> bool:
        """Whether something inside `folder` could match."""
        wanted, have = self.text.split("/"), folder.split("/")
        for want, part in zip(wanted, have, strict=False):
            if "**" in want:
                return True
            if not re.fullmatch(_name_expression(want), part):
                return False
        return True


def _name_expression(name: str) -> str:
    pieces = {"*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\\.|\[[^\]]*\]|.", name)
    return "".join(pieces.get(t, t if t.startswith("[") else re.escape(t.removeprefix("\\"))) for t in tokens)


def _expression(text: str) -> re.Pattern[str]:
    parts = text.split("/")
    built = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            built += ".+" if last else "(?:[^/]+/)*"
        else:
            built += _name_expression(part) + ("" if last else "/")
    return re.compile(f"{built}(?:/.*)?$", re.DOTALL)


def parse(lines: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns of `lines`; blank lines and comments say nothing."""
    found = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        takes_back, text = text.startswith("!"), text.removeprefix("!").strip()
        cleaned = str(PurePosixPath(text.lstrip("/")))
        if cleaned != ".":
            found.append(Pattern(cleaned, takes_back, _expression(cleaned)))
    return tuple(found)


@dataclass(frozen=True)
class Filter:
    """Paths to keep: those that `include` names (all, when it is empty) and `exclude` doesn't."""

    exclude: tuple[Pattern, ...] = ()
    include: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, exclude: Iterable[str] = (), include: Iterable[str] = ()) -> Filter:
        """Return the filter for two lists of pattern lines."""
        return cls(parse(exclude), parse(include))

    def keeps(self, path: str) -> bool:
        """Whether `path`, relative with slashes, stays."""
        included = not self.include or _decides(self.include, path)
        return included and not _decides(self.exclude, path)

    def descends(self, folder: str) -> bool:
        """Whether anything below `folder` could stay."""
        if self.include and not (
            _decides(self.include, folder) or any(p.may_reach_below(folder) for p in self.include)
        ):
            return False
        if not _decides(self.exclude, folder):
            return True
        return any(p.takes_back and p.may_reach_below(folder) for p in self.exclude)


def _decides(patterns: tuple[Pattern, ...], path: str) -> bool:
    matched = False
    for pattern in patterns:
        if pattern.takes_back == matched and pattern.covers(path):
            matched = not pattern.takes_back
    return matched

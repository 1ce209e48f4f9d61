"""Ignore patterns: rules of .dockerignore and .gitignore files.

Dagger's `exclude`, `include` and `Ignore` follow a .dockerignore file: patterns are relative to the root, `*`
matches within one name, `**` spans folders, a pattern also covers everything below its path, a leading `!`
includes paths again, and the last matching pattern decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


@dataclass(frozen=True)
class Pattern:
    """One cleaned pattern."""

    text: str
    takes_back: bool
    expression: re.Pattern[str]

    def may_reach_below(self, folder: str) -> bool:
        """Return whether something inside `folder` could match."""
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


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Return an expression for the paths that a glob pattern names, without those below them."""
    return _expression(str(PurePosixPath(pattern)), below="")


def _expression(text: str, below: str = "(?:/.*)?") -> re.Pattern[str]:
    parts = text.split("/")
    built = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            built += ".+" if last else "(?:[^/]+/)*"
        else:
            built += _name_expression(part) + ("" if last else "/")
    return re.compile(f"{built}{below}$", re.DOTALL)


def parse(lines: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns of `lines`; blank lines and comments are skipped."""
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
class GitIgnore:
    """Rules of a .gitignore file, for paths with `prefix`; the file is `above` their first folder."""

    rules: GitIgnoreSpec
    prefix: str
    above: str = ""

    @classmethod
    def read(cls, folder: str, prefix: str, above: str = "") -> tuple[GitIgnore, ...]:
        """Return the rules of a folder's .gitignore file, if it has one."""
        try:
            with open(f"{folder}/.gitignore", errors="surrogateescape") as lines:
                from pathspec import GitIgnoreSpec  # slow to import, and rarely needed

                return (cls(GitIgnoreSpec.from_lines(lines), prefix, above),)
        except (FileNotFoundError, IsADirectoryError):
            return ()

    def decides(self, path: str) -> bool | None:
        """Return whether the rules ignore `path` (folders end with a slash); None when no rule matches."""
        return self.rules.check_file(self.above + path.removeprefix(self.prefix)).include

    @property
    def takes_back(self) -> bool:
        """Return whether a rule includes paths again."""
        return any(rule.include is False for rule in self.rules.patterns)


@dataclass(frozen=True)
class Filter:
    """Filter of paths: keeps those that `include` matches (all, when it is empty) and `exclude` doesn't.

    With `gitignore`, .gitignore files found in a walk count too; `ignores` are those found, the nearest last.
    As in Dagger, a rule can include a file again even from an ignored folder.
    """

    exclude: tuple[Pattern, ...] = ()
    include: tuple[Pattern, ...] = ()
    gitignore: bool = False
    ignores: tuple[GitIgnore, ...] = ()

    @classmethod
    def of(cls, exclude: Iterable[str] = (), include: Iterable[str] = (), gitignore: bool = False) -> Filter:
        """Return the filter for two lists of pattern lines."""
        return cls(parse(exclude), parse(include), gitignore)

    @property
    def key(self) -> str:
        """Value that represents the filter in a cache key."""
        said = [[pattern.text, pattern.takes_back] for pattern in (*self.exclude, *self.include)]
        return repr((len(self.exclude), said, self.gitignore))

    def of_host(self, folder: Path) -> Filter:
        """Return the filter with the .gitignore files above `folder`, up to its repository's."""
        above = [each for each in (folder, *folder.parents) if (each / ".git").exists()]
        if not self.gitignore or not above:
            return self
        levels = folder.relative_to(above[0]).parts
        between = [(folder.parents[n], "/".join(levels[-n - 1 :]) + "/") for n in range(len(levels))]
        read = (GitIgnore.read(str(each), "", way) for each, way in reversed(between))
        return replace(self, ignores=tuple(found for each in read for found in each))

    def inside(self, folder: str, prefix: str) -> Filter:
        """Return the filter for the content of `folder`, whose paths begin with `prefix`."""
        found = GitIgnore.read(folder, prefix) if self.gitignore else ()
        return replace(self, ignores=(*self.ignores, *found)) if found else self

    def keeps(self, path: str, folder: bool = False) -> bool:
        """Return whether the filter keeps `path`, which is relative with slashes."""
        if self.ignores and self._is_ignored(f"{path}/" if folder else path):
            return False
        return (not self.include or self._is_included(path)) and not self._is_excluded(path)

    def descends(self, folder: str) -> bool:
        """Return whether the filter could keep a path below `folder`."""
        if (
            self.ignores
            and self._is_ignored(f"{folder}/")
            and not any(each.takes_back for each in self.ignores)
        ):
            return False
        if self.include and not (
            self._is_included(folder) or any(p.may_reach_below(folder) for p in self.include)
        ):
            return False
        if not self._is_excluded(folder):
            return True
        return any(p.takes_back and p.may_reach_below(folder) for p in self.exclude)

    @cached_property
    def _is_included(self) -> Callable[[str], bool]:
        return _decision(self.include)

    @cached_property
    def _is_excluded(self) -> Callable[[str], bool]:
        return _decision(self.exclude)

    def _is_ignored(self, path: str) -> bool:
        decided = (each.decides(path) for each in reversed(self.ignores))
        return next((ignored for ignored in decided if ignored is not None), False)


def _decision(patterns: tuple[Pattern, ...]) -> Callable[[str], bool]:
    """Return whether the last matching pattern takes a path; neighbouring patterns are matched together."""
    runs = [
        (takes_back, re.compile("|".join(each.expression.pattern for each in run), re.DOTALL).match)
        for takes_back, run in groupby(patterns, lambda pattern: pattern.takes_back)
    ]

    def decides(path: str) -> bool:
        matched = False
        for takes_back, match in runs:
            if takes_back == matched and match(path):
                matched = not takes_back
        return matched

    return decides

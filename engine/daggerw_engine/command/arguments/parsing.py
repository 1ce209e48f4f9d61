"""Parser of command lines: words to function calls with checked values.

It reads only the file system: it refuses impossible values before anything starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from daggerw_engine.command.arguments.user_defaults import UserDefaults
from daggerw_engine.command.arguments.values import Host, is_supported, read
from daggerw_engine.command.modules.module import Module
from daggerw_engine.command.modules.typedefs import (
    Argument,
    Catalogue,
    Function,
    ObjectType,
    TypeRef,
    command_name,
)
from daggerw_engine.errors import NotOfferedError, UsageError


@dataclass(frozen=True)
class FunctionCall:
    """One function of a chain, called on the result of the previous call."""

    owner: ObjectType
    function: Function
    inputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Level:
    """One function of a command line, with the texts of its flags."""

    owner: ObjectType
    function: Function
    given: Mapping[str, Sequence[str]]


@dataclass
class Parsed:
    """Parsed command line: its words up to the last function, its options, its functions."""

    command: str
    options: dict[str, list[str]]
    levels: list[Level] = field(default_factory=list)

    @property
    def last(self) -> Function:
        return self.levels[-1].function


def _option(name: str, kind: str, doc: str) -> Argument:
    return Argument(name, TypeRef(kind, optional=True), doc)


OPTIONS = {
    option.name: option
    for option in (
        _option("auto-apply", "Boolean", "Apply a call's changes without a prompt"),
        _option("help", "Boolean", "Show this page"),
        _option("json", "Boolean", "Print the result as JSON"),
        _option("mod", "String", "Folder of the module, instead of the nearest dagger.json's"),
        _option("output", "String", "Save the result to a file or folder"),
        _option("progress", "String", "How to show progress: auto or plain"),
        _option("quiet", "Boolean", "Show only what runs, and clean up at the end"),
        _option("silent", "Boolean", "Show no progress"),
        _option("verbose", "Boolean", "Show the tracebacks of the module's errors"),
    )
}
# What the real command line has besides.
OTHERS = {
    *("allow-llm", "cloud", "debug", "dot-focus-field", "dot-output", "dot-show-internal"),
    *("eager-runtime", "interactive", "interactive-command", "lock", "no-exit", "no-mod", "scale-out"),
    *("web", "workdir", "x-release"),
}
GIT = {"GitRef", "GitRepository"}  # types without a default outside of Git
OTHER_LETTERS = set("dEiMw")
LETTERS = {
    "h": "help",
    "j": "json",
    "l": "list",
    "m": "mod",
    "o": "output",
    "q": "quiet",
    "s": "silent",
    "v": "verbose",
    "y": "auto-apply",
}


def split(
    words: Sequence[str], flags: Mapping[str, Argument], command: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Split leading flags from `words`; return the flags' texts, and the remaining words."""
    given: dict[str, list[str]] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        for name, text in _flags_in(word, flags, command):
            if text is None:
                if not rest:
                    raise UsageError(f"flag needs an argument: {word}", command)
                text = rest.pop(0)
            given.setdefault(name, []).append(text)
    return given, rest


def _flags_in(word: str, flags: Mapping[str, Argument], command: str) -> Iterable[tuple[str, str | None]]:
    """Yield the flags in one word with their texts; None if the text is the next word."""
    if word.startswith("--"):
        name, equals, text = word[2:].partition("=")
        argument = flags.get(command_name(name))
        if argument is None and name in OTHERS:
            raise NotOfferedError(f"option --{name}")
        if argument is None:
            raise UsageError(f"unknown flag: --{name}{suggestion(command_name(name), flags, '--')}", command)
        yield argument.flag, text if equals else _implied_text(argument)
        return
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        argument = flags.get(LETTERS.get(letter, ""))
        if argument is None and letter in OTHER_LETTERS:
            raise NotOfferedError(f"option -{letter}")
        if argument is None:
            raise UsageError(f"unknown shorthand flag: {letter!r} in {word}", command)
        implied = _implied_text(argument)
        yield argument.flag, implied if implied or not letters else letters.removeprefix("=")
        if not implied:
            return


def _implied_text(argument: Argument) -> str | None:
    return "true" if argument.type.name == "Boolean" and not argument.type.many else None


def peek(words: Sequence[str], name: str) -> str | None:
    """Return an option's text at any position: the flags depend on the module, which an option names."""
    letter = next(letter for letter, option in LETTERS.items() if option == name)
    text = None
    for word, following in pairwise([*words, ""]):
        if word in {f"-{letter}", f"--{name}"}:
            text = _implied_text(OPTIONS[name]) or following
        elif word.startswith((f"--{name}=", f"-{letter}")):
            text = word.partition("=")[2] if word.startswith("--") else word[2:].removeprefix("=")
    return text


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a sentence that suggests a similar name, or an empty text."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(prefix + name for name in close)}?" if close else ""


def parse(
    words: Sequence[str], catalogue: Catalogue, options: Mapping[str, list[str]], command: str
) -> Parsed:
    """Resolve the functions that `words` name, starting at the module's main object."""
    owner, function, rest = catalogue.main, catalogue.constructor, list(words)
    parsed = Parsed(command, {name: list(texts) for name, texts in options.items()})
    while True:
        own = {
            argument.flag: argument for argument in function.arguments if is_supported(argument, catalogue)
        }
        given, rest = split(rest, {**OPTIONS, **own}, parsed.command)
        for name in given.keys() - own.keys():
            parsed.options.setdefault(name, []).extend(given.pop(name))
        parsed.levels.append(Level(owner, function, given))
        if not rest:
            return parsed
        owner, function = _next(rest.pop(0), function, catalogue, parsed.command)
        parsed.command += f" {command_name(function.name)}"


def _next(word: str, function: Function, catalogue: Catalogue, command: str) -> tuple[ObjectType, Function]:
    owner = catalogue.object(function.returns.name)
    if owner is None:
        raise UsageError(f"unknown command {word!r}: {command!r} gives no object to go on with", command)
    known = functions(owner, catalogue)
    if (found := known.get(command_name(word))) is None:
        raise UsageError(f"unknown command {word!r} for {command!r}{suggestion(word, known)}", command)
    return owner, found


def functions(owner: ObjectType, catalogue: Catalogue) -> dict[str, Function]:
    """Return the functions of `owner` that a command line can call, by their command-line names."""
    return {
        name: function
        for name, function in sorted(owner.functions.items())
        if name != "id"
        and all(is_supported(entry, catalogue) for entry in function.arguments if entry.is_required)
    }


def check(parsed: Parsed, module: Module, catalogue: Catalogue, host: Host) -> list[FunctionCall]:
    """Return the calls with their values; UsageError for the first invalid value."""
    defaults = UserDefaults.of(module, host.folder, host.environment)
    try:
        return [
            FunctionCall(level.owner, level.function, _inputs(level, module, catalogue, host, defaults))
            for level in parsed.levels
        ]
    except ValueError as error:
        raise UsageError(str(error), parsed.command) from error


def _with_defaults(level: Level, catalogue: Catalogue, defaults: UserDefaults) -> dict[str, Sequence[str]]:
    """Return the texts of a module function's flags, including those from .env files."""
    given = dict(level.given)
    if level.owner.name not in catalogue.module.objects:
        return given
    owner = "" if level.owner.name == catalogue.main.name else level.owner.name
    for argument in level.function.arguments:
        if argument.flag not in given:
            text = defaults.text(owner, level.function.name, argument.name)
            given |= {argument.flag: [text]} if text is not None else {}
    return given


def _inputs(
    level: Level, module: Module, catalogue: Catalogue, host: Host, defaults: UserDefaults
) -> dict[str, object]:
    arguments, given = level.function.arguments, _with_defaults(level, catalogue, defaults)
    missing = [f"--{entry.flag}" for entry in arguments if entry.is_required and entry.flag not in given]
    if missing:
        raise ValueError(f"required flag(s) {', '.join(missing)} not set")
    inputs: dict[str, object] = {}
    for argument in arguments:
        texts = given.get(argument.flag, [])
        if not texts and argument.default_path is not None:
            place = module.default_path(argument.default_path)
            if argument.type.optional and argument.type.name in GIT and not (place / ".git").exists():
                continue
            texts = [str(place)]
        elif not texts and argument.default_address is not None:
            texts = [argument.default_address]
        if texts and not is_supported(argument, catalogue):
            raise NotOfferedError(f"a default path for --{argument.flag}, a {argument.type.name},")
        if texts:
            inputs[argument.name] = read(argument, texts, catalogue, host)
    return inputs

"""`daggerw check`: the module's check functions, run in one session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from daggerw_engine.command.arguments import usage
from daggerw_engine.command.arguments.caller import NAME, Caller
from daggerw_engine.command.arguments.parsing import (
    OPTIONS,
    FunctionCall,
    Parsed,
    check,
    parse,
    split,
    suggestion,
)
from daggerw_engine.command.arguments.values import Host
from daggerw_engine.command.calls.chain import Chain, complete_chain
from daggerw_engine.command.calls.module_session import evaluate, run_until_signal
from daggerw_engine.command.calls.output import write
from daggerw_engine.command.function_commands import find_module, load_catalogue
from daggerw_engine.command.modules.typedefs import (
    Argument,
    Catalogue,
    Function,
    ObjectType,
    TypeRef,
    command_name,
)
from daggerw_engine.errors import EngineError, UsageError
from daggerw_engine.progress import Progress

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

LIST = Argument("list", TypeRef("Boolean", optional=True), "List the checks, and run none")


def run_command(caller: Caller, words: Sequence[str], options: Mapping[str, list[str]]) -> int:
    """Run or list the checks that `words` name, with the options before them; return the exit status."""
    name = f"{NAME} check"
    given, patterns = read_words(words, {**OPTIONS, LIST.name: LIST}, name)
    given = {**options, **given}
    if "help" in given:
        return write(f"{usage.COMMANDS['check']}\n")
    found = find_module(caller)
    catalogue = load_catalogue(caller, found)
    chosen = choose(find_checks(catalogue), patterns)
    if LIST.name in given:
        return write(usage.format_list({each: functions[-1] for each, functions in chosen.items()}))
    host = Host(caller.folder, caller.environment)
    checks = {}
    for each, functions in chosen.items():
        command = parse([function.name for function in functions], catalogue, given, name)
        checks[each] = complete_chain(check(command, found, catalogue, host), catalogue, None, name)
    progress = Progress(mode=caller.progress_mode(Parsed(name, dict(given))))

    async def work(_: Session, chain: Chain) -> None:
        await run_checks(chain, checks, progress)

    run_until_signal(evaluate(caller, found, catalogue, progress, work, verbose="verbose" in given))
    return 0


def find_checks(catalogue: Catalogue) -> dict[str, list[Function]]:
    """Return each check's chain of functions, by Dagger's name for it: `lint`, `test:unit`."""
    return dict(_below(catalogue.main, catalogue, (catalogue.main.name,)))


def _below(
    owner: ObjectType, catalogue: Catalogue, above: Sequence[str]
) -> Iterator[tuple[str, list[Function]]]:
    for name, function in sorted(owner.functions.items()):
        if not function.needs_nothing:
            continue
        if function.check:
            yield name, [function]
        inner = catalogue.module.objects.get(function.returns.name)
        if inner and inner.name not in above and not function.returns.many:
            for below, functions in _below(inner, catalogue, (*above, inner.name)):
                yield f"{name}:{below}", [function, *functions]


def read_words(
    words: Sequence[str], options: Mapping[str, Argument], command: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the options and the patterns, which may be in any order."""
    given: dict[str, list[str]] = {}
    patterns: list[str] = []
    rest = list(words)
    while rest:
        found, rest = split(rest, options, command)
        given |= found
        patterns += rest[:1]
        rest = rest[1:]
    return given, patterns


def choose(found: Mapping[str, list[Function]], patterns: Sequence[str]) -> dict[str, list[Function]]:
    """Return the checks that patterns match, and those below them; UsageError for an unmatched pattern."""
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in found):
            raise UsageError(f"no check is named {pattern!r}{suggestion(pattern, found)}", "daggerw check")
    return {
        name: functions
        for name, functions in found.items()
        if not patterns or any(_matches(name, pattern) for pattern in patterns)
    }


def _matches(name: str, pattern: str) -> bool:
    wanted = ":".join(map(command_name, pattern.split(":")))
    return fnmatchcase(name, wanted) or fnmatchcase(name, f"{wanted}:*")


async def run_checks(chain: Chain, checks: Mapping[str, Sequence[FunctionCall]], progress: Progress) -> None:
    """Run every check and print each failure; EngineError with the number of failures."""
    failures = 0
    for name, calls in checks.items():
        try:
            with progress.step(f"check {name}"):
                await chain.run(calls)
        except EngineError as error:
            failures += 1
            progress.show(f"{name}: {error}\n{_output(error)}")
    if failures:
        raise EngineError(f"{failures} of {len(checks)} checks failed")


def _output(error: EngineError) -> str:
    """Return the output of a failed command."""
    details = error.extensions
    return "".join(f"{details[name]}\n" for name in ("stdout", "stderr") if details.get(name))

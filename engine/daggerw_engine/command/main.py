"""The command line of the embedded engine: takes dagger's words, ends with dagger's statuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from daggerw_engine.command import engine_types, module, usage
from daggerw_engine.command.argument_values import Host
from daggerw_engine.command.arguments import (
    OPTIONS,
    Call,
    Parsed,
    check,
    functions,
    parse,
    peek,
    split,
    suggestion,
)
from daggerw_engine.command.call_chain import Chain, completed
from daggerw_engine.command.changeset_prompt import offer
from daggerw_engine.command.module import Module, ModuleProcess
from daggerw_engine.command.output import identities, save, text_of, write
from daggerw_engine.command.remembered import look_up
from daggerw_engine.command.typedefs import Catalogue
from daggerw_engine.errors import EngineError, NotOfferedError, UsageError
from daggerw_engine.progress import Mode, Progress
from daggerw_engine.run.network import host_listener, module_prefix, private_network
from daggerw_engine.run.proxies import proxies_of

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

T = TypeVar("T")
NAME = "daggerw"
DEFAULT_MODULE = "DAGGERW_DEFAULT_MODULE"
KEEP_PRIVILEGES = "DAGGERW_EXPORT_PRIVILEGES"
OWN_VARIABLES = ("PYTHONPATH", "PYTHONPYCACHEPREFIX", DEFAULT_MODULE)
# What the real command line has besides.
OTHERS = {
    *("cloud", "completion", "config", "core", "develop", "generate", "init", "install"),
    *("listen", "login", "logout", "mcp", "query", "run", "shell", "uninstall", "up", "update"),
}
CHANGESET = "Changeset"
FAILED, BROKEN_PIPE, INTERRUPTED, TERMINATED = 1, 141, 130, 143


class Terminated(BaseException):
    """SIGTERM came."""


@dataclass(frozen=True)
class Caller:
    """Who calls: the words, the folder, the environment. Read once, here in `main`.

    `default` is the folder of the module that is called where there is none: the wrapper's own project.
    """

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    default: Path | None

    @property
    def cache(self) -> Path:
        base = self.environment.get("XDG_CACHE_HOME") or Path(self.environment.get("HOME", "/root"), ".cache")
        return Path(base, NAME)

    @property
    def bound(self) -> int:
        """How many bytes the cache may hold."""
        from daggerw_engine.store.pruning import BOUND

        text = self.environment.get("DAGGERW_CACHE_BYTES") or str(BOUND)
        if not text.isdecimal():
            raise UsageError(f"DAGGERW_CACHE_BYTES is {text!r}; expected a number of bytes")
        return int(text)

    @property
    def privileges(self) -> bool:
        """Whether exported files keep setuid bits and capabilities."""
        return self.environment.get(KEEP_PRIVILEGES) == "1"


def main() -> int:
    """Run the process's command line and return its exit status."""
    default = os.environ.get(DEFAULT_MODULE)
    for name in OWN_VARIABLES:  # how we were started is nothing for what we start, least of all in images
        os.environ.pop(name, None)
    caller = Caller(sys.argv[1:], Path.cwd(), os.environ, Path(default) if default else None)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(caller)
    except KeyboardInterrupt:
        return _say("Canceled.", INTERRUPTED)
    except Terminated:
        return _say("Terminated.", TERMINATED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except UsageError as error:
        _say(f"Error: {error}", FAILED)
        return _say(f"Run '{error.command or NAME} --help' for usage.", FAILED)
    except EngineError as error:
        return _report(error)


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


def _report(error: EngineError, scrub: Callable[[str], str] = str) -> int:
    """Print an error; a failed command's whole output with it, whose status becomes ours."""
    _say(scrub(f"Error: {error}"), FAILED)
    extensions = error.extensions
    if extensions.get("_type") != "EXEC_ERROR":
        return FAILED
    for title, key in (("Stdout:", "stdout"), ("Stderr:", "stderr")):
        if text := str(extensions.get(key) or ""):
            _say(scrub(f"{title}\n{text}"), FAILED)
    status = extensions.get("exitCode")
    return status if isinstance(status, int) and status > 0 else FAILED


def _run(caller: Caller) -> int:
    if caller.words[:1] == ["session"]:  # with whatever labels an SDK gives it
        return _session(caller)
    options, words = split(caller.words, OPTIONS, NAME)
    command, *rest = words or ["help"]
    if command == "help" and rest:
        options["help"], (command, *rest) = ["true"], rest
    if command == "version":
        return write(f"{NAME} v{module.sdk_version()} (embedded engine)\n")
    if command == "help":
        return write(usage.overview())
    if command == "cache":
        return _cache(caller, rest, wants_help="help" in options or not {"-h", "--help"}.isdisjoint(rest))
    if command in {"check", "checks"}:
        return _check(caller, rest, options)
    if command in OTHERS:
        raise NotOfferedError(f"command {command!r}")
    if command not in {"call", "functions"}:
        raise UsageError(f"unknown command {command!r} for {NAME!r}{suggestion(command, usage.COMMANDS)}")
    found = _module(caller)
    catalogue = _catalogue(caller, found)
    parsed = parse(rest, catalogue, options, f"{NAME} {command}")
    wants_help = "help" in parsed.options
    if command == "functions" and not wants_help:
        return _list(parsed, catalogue)
    if wants_help or len(parsed.levels) == 1:
        return write(usage.page(parsed, catalogue))
    return _call(caller, found, catalogue, parsed)


def _check(caller: Caller, words: Sequence[str], options: Mapping[str, list[str]]) -> int:
    from daggerw_engine.command.checks import LIST, choose, find_checks, read_words, run_checks

    name = f"{NAME} check"
    given, patterns = read_words(words, {**OPTIONS, LIST.name: LIST}, name)
    given = {**options, **given}
    if "help" in given:
        return write(f"{usage.COMMANDS['check']}\n")
    found = _module(caller)
    catalogue = _catalogue(caller, found)
    chosen = choose(find_checks(catalogue), patterns)
    if LIST.name in given:
        return write(usage.listing({each: functions[-1] for each, functions in chosen.items()}))
    host = Host(caller.folder, caller.environment)
    checks = {}
    for each, functions_ in chosen.items():
        parsed = parse([function.name for function in functions_], catalogue, given, name)
        checks[each] = completed(check(parsed, found, catalogue, host), catalogue, None, name)
    progress = Progress(mode=_mode(Parsed(name, dict(given)), caller.environment))

    async def work(_: Session, chain: Chain) -> None:
        await run_checks(chain, checks, progress)

    _until_signal(_evaluate(caller, found, catalogue, progress, work, verbose="verbose" in given))
    return 0


def _cache(caller: Caller, words: Sequence[str], *, wants_help: bool) -> int:
    from daggerw_engine.command import cache_command

    if wants_help:
        return write(cache_command.PAGE)
    return write(cache_command.tend(words, caller.cache, caller.bound))


def _module(caller: Caller) -> Module:
    named = peek(caller.words, "mod")
    return (
        module.load((caller.folder / named).resolve())
        if named
        else module.find(caller.folder, caller.default)
    )


def _catalogue(caller: Caller, found: Module) -> Catalogue:
    verbose = peek(caller.words, "verbose") is not None
    types = module.types(found, caller.cache, verbose=verbose)
    return Catalogue(types, lambda: engine_types.types(caller.cache))


def _list(parsed: Parsed, catalogue: Catalogue) -> int:
    owner = catalogue.object(parsed.last.returns.name)
    if owner is None:
        raise UsageError(f"{parsed.command!r} gives no object with functions", parsed.command)
    return write(usage.listing(functions(owner, catalogue)))


def _call(caller: Caller, found: Module, catalogue: Catalogue, parsed: Parsed) -> int:
    output = parsed.options.get("output", [None])[-1]
    progress = Progress(mode=_mode(parsed, caller.environment))
    calls = check(parsed, found, catalogue, Host(caller.folder, caller.environment))
    returns = parsed.last.returns
    is_object = catalogue.object(returns.name) is not None
    if is_object:
        calls = completed(calls, catalogue, output, parsed.command)
    _refuse_taken_ports(calls[-1])

    async def work(session: Session, chain: Chain) -> object:
        result = await chain.run(calls)
        if calls[-1].function.returns.name == CHANGESET and output is None:
            await offer(session, str(result), apply="auto-apply" in parsed.options, show=progress.show)
        return result

    async def remembered() -> object:
        place = await look_up(caller.cache, caller.bound, found, catalogue, calls)
        if place and place.value:
            with progress.step(parsed.command.removeprefix(f"{NAME} ")) as step:
                step.cached()
            return place.value[0]
        verbose = "verbose" in parsed.options
        result = await _evaluate(caller, found, catalogue, progress, work, verbose=verbose)
        if place:
            await place.keep(result, caller.bound)
        return result

    try:
        result = _until_signal(remembered())
    except EngineError as error:
        return _report(error, progress.scrub)
    if is_object and output is not None:
        return _say(f"Saved to {json.dumps(result)}.", 0)
    if returns.name == CHANGESET:
        return 0
    text = identities(result, returns) if is_object else text_of(result, as_json="json" in parsed.options)
    if output is not None:
        save(caller.folder / output, text)
    return write(text)


def _session(caller: Caller) -> int:
    from daggerw_engine.api.client import Client
    from daggerw_engine.command.sdk_session import serve

    user = Client(caller.folder, confined=False, privileges=caller.privileges)
    _until_signal(serve(caller.cache, caller.bound, user, proxies_of(caller.environment)))
    return 0


def _refuse_taken_ports(call: Call) -> None:
    """Refuse what `up` would refuse, before anything starts for it."""
    if (call.owner.name, call.function.name) != ("Service", "up") or call.inputs.get("random"):
        return
    for forward in cast("list[dict[str, int]]", call.inputs.get("ports", [])):
        host_listener(forward["frontend"], forward["backend"]).close()


def _mode(parsed: Parsed, environment: Mapping[str, str]) -> Mode:
    if "silent" in parsed.options:
        return "silent"
    if "quiet" in parsed.options:
        return "quiet"
    match parsed.options.get("progress", ["auto"])[-1]:
        case "auto":
            return "plain" if environment.get("TERM") == "dumb" else "auto"
        case "plain":
            return "plain"
        case other:
            raise UsageError(f"--progress: expected auto or plain, not {other!r}", parsed.command)


async def _evaluate(
    caller: Caller,
    found: Module,
    catalogue: Catalogue,
    progress: Progress,
    work: Callable[[Session, Chain], Awaitable[T]],
    *,
    verbose: bool,
) -> T:
    """Do `work` in a session with the module's running process."""
    async with private_network(proxies_of(caller.environment)) as network, network.with_module() as host:
        prefix = module_prefix(host, caller.cache)
        async with ModuleProcess.start(found, prefix, progress.show, verbose=verbose) as process:
            # Imported late: meanwhile the module's process imports what it needs.
            from daggerw_engine.api.client import Client, ModuleSource
            from daggerw_engine.api.session import Session
            from daggerw_engine.store.stand_ins import OWN_TABLE

            source = ModuleSource(found.name, found.source, found.root / OWN_TABLE)
            user = Client(caller.folder, confined=False, privileges=caller.privileges)
            async with (
                Session.open(
                    cache=caller.cache,
                    bound=caller.bound,
                    network=network,
                    module=source,
                    progress=progress,
                    user=user,
                ) as session,
                session.module_client() as client,
            ):
                await process.connect(client)
                return await work(session, Chain(catalogue, session, process))


def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end; SIGTERM and Ctrl-C cancel it, so that it puts everything away first."""

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError as error:
        raise Terminated from error

"""Commands `call` and `functions`, and their help."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from daggerw_engine.command.arguments import usage
from daggerw_engine.command.arguments.caller import NAME, Caller
from daggerw_engine.command.arguments.parsing import FunctionCall, Parsed, check, functions, parse, peek
from daggerw_engine.command.arguments.values import Host
from daggerw_engine.command.calls.chain import Chain, complete_chain
from daggerw_engine.command.calls.changeset_prompt import offer
from daggerw_engine.command.calls.module_session import evaluate, run_until_signal
from daggerw_engine.command.calls.output import identities, report, save, say, text_of, write
from daggerw_engine.command.calls.result_cache import look_up
from daggerw_engine.command.modules import engine_types, module
from daggerw_engine.command.modules.module import Module
from daggerw_engine.command.modules.typedefs import Catalogue
from daggerw_engine.errors import EngineError, UsageError
from daggerw_engine.progress import Progress
from daggerw_engine.run.network import host_listener

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

CHANGESET = "Changeset"


def run_command(caller: Caller, command: str, words: Sequence[str], options: Mapping[str, list[str]]) -> int:
    """Run `call` or `functions` with its words and the options before it; return the exit status."""
    found = find_module(caller)
    catalogue = load_catalogue(caller, found)
    parsed = parse(words, catalogue, options, f"{NAME} {command}")
    wants_help = "help" in parsed.options
    if command == "functions" and not wants_help:
        return _list(parsed, catalogue)
    if wants_help or len(parsed.levels) == 1:
        return write(usage.format_page(parsed, catalogue))
    return _call(caller, found, catalogue, parsed)


def find_module(caller: Caller) -> Module:
    """Return the module of --mod, else that of the caller's folder."""
    named = peek(caller.words, "mod")
    if named:
        return module.find_named(named, caller.folder)
    return module.find(caller.folder, caller.default)


def load_catalogue(caller: Caller, found: Module) -> Catalogue:
    """Return the types of a module and of the engine."""
    verbose = peek(caller.words, "verbose") is not None
    types = module.types(found, caller.cache, verbose=verbose)
    return Catalogue(types, lambda: engine_types.types(caller.cache))


def _list(parsed: Parsed, catalogue: Catalogue) -> int:
    owner = catalogue.object(parsed.last.returns.name)
    if owner is None:
        raise UsageError(f"{parsed.command!r} gives no object with functions", parsed.command)
    return write(usage.format_list(functions(owner, catalogue)))


def _call(caller: Caller, found: Module, catalogue: Catalogue, parsed: Parsed) -> int:
    output = parsed.options.get("output", [None])[-1]
    progress = Progress(mode=caller.progress_mode(parsed))
    calls = check(parsed, found, catalogue, Host(caller.folder, caller.environment))
    returns = parsed.last.returns
    is_object = catalogue.object(returns.name) is not None
    if is_object:
        calls = complete_chain(calls, catalogue, output, parsed.command)
    _refuse_taken_ports(calls[-1])

    async def work(session: Session, chain: Chain) -> object:
        result = await chain.run(calls)
        if calls[-1].function.returns.name == CHANGESET and output is None:
            await offer(session, str(result), apply="auto-apply" in parsed.options, show=progress.show)
        return result

    async def run_or_look_up() -> object:
        place = await look_up(caller.cache, caller.max_cache_bytes, found, catalogue, calls)
        if place and place.value:
            with progress.step(parsed.command.removeprefix(f"{NAME} ")) as step:
                step.mark_cached()
            return place.value[0]
        verbose = "verbose" in parsed.options
        result = await evaluate(caller, found, catalogue, progress, work, verbose=verbose)
        if place:
            await place.keep(result, caller.max_cache_bytes)
        return result

    try:
        result = run_until_signal(run_or_look_up())
    except EngineError as error:
        return report(error, progress.scrub)
    if is_object and output is not None:
        return say(f"Saved to {json.dumps(result)}.", 0)
    if returns.name == CHANGESET:
        return 0
    text = identities(result, returns) if is_object else text_of(result, as_json="json" in parsed.options)
    if output is not None:
        save(caller.folder / output, text)
    return write(text)


def _refuse_taken_ports(call: FunctionCall) -> None:
    """Raise the errors of `up` for taken ports before anything starts."""
    if (call.owner.name, call.function.name) != ("Service", "up") or call.inputs.get("random"):
        return
    for forward in cast("list[dict[str, int]]", call.inputs.get("ports", [])):
        host_listener(forward["frontend"], forward["backend"]).close()

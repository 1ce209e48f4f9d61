"""Command line of the embedded engine, with dagger's arguments and exit statuses."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from daggerw_engine.command import function_commands
from daggerw_engine.command.arguments import usage
from daggerw_engine.command.arguments.caller import NAME, Caller
from daggerw_engine.command.arguments.parsing import OPTIONS, split, suggestion
from daggerw_engine.command.calls.module_session import Terminated, run_until_signal
from daggerw_engine.command.calls.output import FAILED, report, say, write
from daggerw_engine.command.modules.module import sdk_version
from daggerw_engine.errors import EngineError, NotOfferedError, UsageError
from daggerw_engine.run.programs import require_programs
from daggerw_engine.run.proxies import proxies_of

DEFAULT_MODULE, PACKAGES_LOCK = "DAGGERW_DEFAULT_MODULE", "DAGGERW_PACKAGES_LOCK"
OWN_VARIABLES = ("PYTHONPATH", "PYTHONPYCACHEPREFIX", DEFAULT_MODULE, PACKAGES_LOCK)
# Commands that only Dagger's command line has.
OTHERS = {
    *("cloud", "completion", "config", "core", "develop", "generate", "init", "install"),
    *("listen", "login", "logout", "mcp", "query", "run", "shell", "uninstall", "up", "update"),
}
BROKEN_PIPE, INTERRUPTED, TERMINATED = 141, 130, 143


def main() -> int:
    """Run the process's command line and return its exit status."""
    default, lock = os.environ.get(DEFAULT_MODULE), os.environ.get(PACKAGES_LOCK)
    for name in OWN_VARIABLES:  # our own settings must not reach child processes, nor images
        os.environ.pop(name, None)
    caller = Caller(
        sys.argv[1:],
        Path.cwd(),
        os.environ,
        default=Path(default) if default else None,
        packages_lock=Path(lock) if lock else None,
    )
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(caller)
    except KeyboardInterrupt:
        return say("Canceled.", INTERRUPTED)
    except Terminated:
        return say("Terminated.", TERMINATED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except UsageError as error:
        say(f"Error: {error}", FAILED)
        return say(f"Run '{error.command or NAME} --help' for usage.", FAILED)
    except EngineError as error:
        return report(error)


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _run(caller: Caller) -> int:
    if caller.words[:1] == ["session"]:  # an SDK may add labels
        return _session(caller)
    options, words = split(caller.words, OPTIONS, NAME)
    command, *rest = words or ["help"]
    if command == "help" and rest:
        options["help"], (command, *rest) = ["true"], rest
    if command == "version":
        return write(f"{NAME} v{sdk_version()} (embedded engine)\n")
    if command == "help":
        return write(usage.format_overview())
    if command == "cache":
        return _cache(caller, rest, wants_help="help" in options or not {"-h", "--help"}.isdisjoint(rest))
    if command in {"check", "checks"}:
        from daggerw_engine.command.checks import run_command

        return run_command(caller, rest, options)
    if command in OTHERS:
        raise NotOfferedError(f"command {command!r}")
    if command not in {"call", "functions"}:
        raise UsageError(f"unknown command {command!r} for {NAME!r}{suggestion(command, usage.COMMANDS)}")
    return function_commands.run_command(caller, command, rest, options)


def _cache(caller: Caller, words: Sequence[str], *, wants_help: bool) -> int:
    from daggerw_engine.command import cache_command

    if wants_help:
        return write(cache_command.PAGE)
    require_programs(caller.packages_lock)
    return write(cache_command.tend(words, caller.cache, caller.max_cache_bytes))


def _session(caller: Caller) -> int:
    from daggerw_engine.api.clients.client import Client
    from daggerw_engine.command.sdk_session import serve

    require_programs(caller.packages_lock)
    user = Client(caller.folder, confined=False, privileges=caller.privileges)
    run_until_signal(serve(caller.cache, caller.max_cache_bytes, user, proxies_of(caller.environment)))
    return 0

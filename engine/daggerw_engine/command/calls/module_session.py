"""Sessions of the engine with a module's running process, ended by signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from daggerw_engine.command.arguments.caller import Caller
from daggerw_engine.command.calls.chain import Chain
from daggerw_engine.command.modules.module import Module, ModuleProcess
from daggerw_engine.command.modules.typedefs import Catalogue
from daggerw_engine.progress import Progress
from daggerw_engine.run.network import module_prefix, private_network
from daggerw_engine.run.programs import require_programs
from daggerw_engine.run.proxies import proxies_of

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

T = TypeVar("T")


class Terminated(BaseException):
    """Termination by SIGTERM."""


async def evaluate(
    caller: Caller,
    found: Module,
    catalogue: Catalogue,
    progress: Progress,
    work: Callable[[Session, Chain], Awaitable[T]],
    *,
    verbose: bool,
) -> T:
    """Run `work` in a session with the module's running process."""
    await asyncio.to_thread(require_programs, caller.packages_lock)
    async with private_network(proxies_of(caller.environment)) as network, network.with_module() as host:
        prefix = module_prefix(host, caller.cache)
        async with ModuleProcess.start(found, prefix, progress.show, verbose=verbose) as process:
            # Imported late: meanwhile the module's process imports what it needs.
            from daggerw_engine.api.clients.client import Client, ModuleSource
            from daggerw_engine.api.session import Session
            from daggerw_engine.store.stand_ins import OWN_TABLE

            source = ModuleSource(found.name, found.source, found.root / OWN_TABLE)
            user = Client(caller.folder, confined=False, privileges=caller.privileges)
            async with (
                Session.open(
                    cache=caller.cache,
                    bound=caller.max_cache_bytes,
                    network=network,
                    module=source,
                    progress=progress,
                    user=user,
                ) as session,
                session.module_client() as client,
            ):
                await process.connect(client)
                return await work(session, Chain(catalogue, session, process))


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end; SIGTERM and Ctrl-C cancel it, so that it cleans up first."""

    async def run_cancellably() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(run_cancellably())
    except asyncio.CancelledError as error:
        raise Terminated from error

"""`daggerw session`: the API for a user's program, started by Dagger's SDKs.

An SDK whose environment names this program (_EXPERIMENTAL_DAGGER_CLI_BIN) starts it, reads one line of JSON
with a port and a token, and closes its standard input when it is done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from daggerw_engine.api.clients.client import Client, ModuleSource
from daggerw_engine.api.session import Session
from daggerw_engine.progress import Progress
from daggerw_engine.run.network import Proxy, private_network
from daggerw_engine.store.stand_ins import OWN_TABLE


async def serve(cache: Path, bound: int, user: Client, proxies: Sequence[Proxy]) -> None:
    """Print the API's address, and serve it until standard input ends."""
    source = ModuleSource(user.workdir.name, user.workdir, user.workdir / OWN_TABLE)
    async with (
        private_network(proxies) as network,
        Session.open(
            cache=cache, bound=bound, network=network, module=source, progress=Progress(), user=user
        ) as session,
        session.user_client() as address,
    ):
        port, token = int(address["DAGGER_SESSION_PORT"]), address["DAGGER_SESSION_TOKEN"]
        print(json.dumps({"port": port, "session_token": token}), flush=True)
        await _end_of_input()


async def _end_of_input() -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        while os.read(sys.stdin.fileno(), 1 << 16):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()

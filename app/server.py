"""Serve on a listening socket until told to stop."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import Iterable
from dataclasses import replace
from time import monotonic
from typing import NoReturn

import uvicorn
import uvloop

from app import logs
from app.api.asgi_app import AsgiApp
from app.connections.hot_path import protocol_of
from app.connections.listener import BACKLOG
from app.connections.protocol import LimitedProtocol
from app.service import Service
from app.settings import Settings

# Cloud Run and Docker kill ten seconds after SIGTERM: what is still in flight then is cut off by us.
GRACE_SECONDS = 8
TICK_SECONDS = 0.25
SPARE_FILES = 64  # that are no connections: modules while they are imported, the model, the event loop


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then accept nothing new and answer what is in flight.

    uvicorn raises the signal again when it is done: the caller's handler decides how the process ends.
    """
    logs.configure()
    service = Service.load(_within_open_files(settings))
    host, port = listener.getsockname()
    gc.freeze()
    gc.enable()  # app.__main__ has turned it off
    logs.log.info("listening on http://%s:%d, model %s", host, port, settings.model_version)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(service, listener))


async def _run(service: Service, listener: socket.socket) -> None:
    server = uvicorn.Server(_config(service))
    service.connections = server.server_state.connections
    watching = asyncio.create_task(_watch(server.server_state.connections))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()


async def _watch(connections: Iterable[object]) -> NoReturn:
    """Look again and again for connections whose deadline has passed."""
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now = monotonic()
        for connection in [*connections]:
            if isinstance(connection, LimitedProtocol) and now >= connection.deadline:
                connection.expire()


def _config(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        AsgiApp(service),
        http=protocol_of(service),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=service.settings.limits.idle_seconds,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _within_open_files(settings: Settings) -> Settings:
    """Allow the process all the files that it may open, and no more connections than that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = min(settings.limits.connections, max(1, hard - SPARE_FILES))
    return replace(settings, limits=replace(settings.limits, connections=connections))

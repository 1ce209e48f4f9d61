"""HTTP server on a listening socket, in this process or in several, until a signal stops it."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import sys
from dataclasses import replace
from time import monotonic
from typing import NoReturn

import uvicorn
import uvloop

from app import logs
from app.api.asgi_app import AsgiApp
from app.connections.hot_path import protocol_of
from app.connections.listener import BACKLOG, address
from app.connections.protocol import LimitedProtocol
from app.service import Service, load_model
from app.settings import Settings
from app.workers.channel import Channel
from app.workers.supervisor import Supervisor

# Cloud Run and Docker kill ten seconds after SIGTERM: what is still in flight then is cut off by us.
GRACE_SECONDS = 8
TICK_SECONDS = 0.25
REPORT_TICKS = 4  # from one report of the counters to the next
SWITCH_SECONDS = 0.0001  # that each of the event loop's callbacks waits for a thread which computes
SPARE_FILES = 64  # that are no connections: modules while they are imported, the model, the event loop


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then accept nothing new and respond to what is in flight.

    Where the signal ends this process uvicorn, or the supervisor, raises it again when it is done: the
    caller's handler decides how the process ends. Raises WorkerError if a worker can't begin.
    """
    logs.configure()
    settings = _within_open_files(settings)
    model = load_model(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # so that workers go on sharing it
    gc.enable()  # app.__main__ has turned it off
    logs.log.info("listening on http://%s, model %s", address(listener), settings.model_version)
    end = Supervisor(listener, settings.workers, GRACE_SECONDS + 1).run() if settings.workers > 1 else None
    if settings.workers > 1 and end is None:
        return  # all workers have ended
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(Service(settings, model), listener, end))


async def _run(service: Service, listener: socket.socket, supervisor: socket.socket | None) -> None:
    """Serve in this process, one of several if there is a supervisor."""
    app = AsgiApp(service)
    server = uvicorn.Server(_config(service, app))
    service.connections = server.server_state.connections
    if supervisor:
        service.channel = Channel(service.own_snapshot)
        await service.channel.open(supervisor)
    await app.warm_up()
    if service.channel:
        await service.channel.wait_for_all()
    watching = asyncio.create_task(_watch(service))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()
        if service.channel:
            await service.channel.close()


async def _watch(service: Service) -> NoReturn:
    """Expire connections whose deadline has passed, and report the counters, at a fixed interval."""
    ticks = 0
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now, ticks = monotonic(), ticks + 1
        for connection in [*service.connections]:
            if isinstance(connection, LimitedProtocol) and now >= connection.deadline:
                connection.expire()
        if service.channel and ticks % REPORT_TICKS == 0:
            service.channel.report()


def _config(service: Service, app: AsgiApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
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

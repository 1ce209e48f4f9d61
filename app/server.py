"""Serve on a listening socket until told to stop."""

from __future__ import annotations

import logging
import socket

import uvicorn

from app.app import create_app
from app.settings import Settings

# Cloud Run and Docker kill ten seconds after SIGTERM: what is still in flight then is cut off by us.
GRACE_SECONDS = 8

log = logging.getLogger("uvicorn.error")


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then accept nothing new and answer what is in flight.

    uvicorn raises the signal again when it is done: the caller's handler decides how the process ends.
    """
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    host, port = listener.getsockname()
    log.info("listening on http://%s:%d, model %s", host, port, settings.model_version)
    uvicorn.Server(config).run(sockets=[listener])

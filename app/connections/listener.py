"""Take the port, before anything slow is done."""

from __future__ import annotations

import os
import socket

from app.errors import ListenError

BACKLOG = 2048


def listen(port: int) -> socket.socket:
    """Return a socket that listens on every address; clients wait until the service accepts them.

    Raises ListenError when the port is not to be had.
    """
    try:
        return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ListenError(f"server: cannot listen on port {port}: {reason}; set PORT to another") from error

"""Listening socket of the service, opened before any slow import."""

from __future__ import annotations

import errno
import os
import socket

from app.errors import ListenError

BACKLOG = 2048
WITHOUT_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # not compiled in, or turned off


def listen(port: int) -> socket.socket:
    """Return a socket that listens on every address, of IPv6 too where there is one.

    Clients wait until the service accepts them. Raises ListenError when the port is not available.
    """
    try:
        return _listen_on_both(port) or socket.create_server(("0.0.0.0", port), backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ListenError(f"server: cannot listen on port {port}: {reason}; set PORT to another") from error


def address(listener: socket.socket) -> str:
    """Return where a socket listens, as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def _listen_on_both(port: int) -> socket.socket | None:
    """Return a socket of both families, or None where there is no IPv6."""
    if not socket.has_dualstack_ipv6():
        return None
    try:
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    except OSError as error:
        if error.errno in WITHOUT_IPV6:
            return None
        raise

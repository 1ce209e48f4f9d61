"""A neighbouring machine: an address in a network namespace of its own, which module code reaches.

The engine blocks the host's own addresses.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socket import create_server

ADDRESS, HOST = "198.51.100.1", "198.51.100.2"  # for documentation (RFC 5737): unused on any network
NAME = f"neighbour-{os.getpid()}"
CLONE_NEWNET = 0x40000000  # linux/sched.h


@contextmanager
def neighbour() -> Iterator[str]:
    """Have the machine while the block runs, and yield its namespace's name."""
    _ip("netns", "add", NAME)
    try:
        _ip("link", "add", "neighbour", "type", "veth", "peer", "name", "eth0", "netns", NAME)
        _ip("address", "add", f"{HOST}/30", "dev", "neighbour")
        _ip("link", "set", "neighbour", "up")
        _ip("-n", NAME, "address", "add", f"{ADDRESS}/30", "dev", "eth0")
        _ip("-n", NAME, "link", "set", "eth0", "up")
        yield NAME
        _ip("link", "delete", "neighbour")  # a socket there may keep the namespace for a while
    finally:
        _ip("netns", "delete", NAME)


def listen(name: str, port: int = 0) -> socket.socket:
    """Return a socket that listens on a port of the machine, for this process, which stays on the host."""
    with ThreadPoolExecutor(1) as thread:  # a namespace is entered by one thread
        return thread.submit(_listen_inside, name, port).result()


def _listen_inside(name: str, port: int) -> socket.socket:
    libc, namespace = ctypes.CDLL(None, use_errno=True), os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(namespace)
    return create_server((ADDRESS, port))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)

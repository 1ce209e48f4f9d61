"""Proxies in a user's environment, as addresses that commands may reach."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


def proxies_of(environment: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the address and port of each proxy in variables such as HTTPS_PROXY; skip unknown hosts."""
    values = {environment.get(name) for each in VARIABLES for name in (each, each.upper())}
    return sorted({found for value in values if value for found in _addresses(value)})


def _addresses(value: str) -> list[tuple[str, int]]:
    with suppress(ValueError, OSError):  # no URL, an invalid port, or an unknown host
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port or PORTS.get(parts.scheme, 80)
        found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
        return [(str(address[0]), port) for *_, address in found]
    return []

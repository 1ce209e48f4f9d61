"""Fixtures of the engine's tests."""

from engine_fixtures import (
    address,
    anyio_backend,
    catalogue,
    command,
    dag,
    documents,
    engine_home,
    example,
    free_port,
    run,
)

__all__ = [
    "address",
    "anyio_backend",
    "catalogue",
    "command",
    "dag",
    "documents",
    "engine_home",
    "example",
    "free_port",
    "run",
]

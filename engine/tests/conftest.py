"""Fixtures of the engine's tests."""

from engine_fixtures import anyio_backend, catalogue, command, engine_home, example, free_port, run

__all__ = ["anyio_backend", "catalogue", "command", "engine_home", "example", "free_port", "run"]

"""Connections passed on from a listening socket to another place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from daggerw_engine.api.calls import key_of
from daggerw_engine.api.state import Port
from daggerw_engine.errors import NotOfferedError, ServiceError

CHUNK = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def relaying(
    listening: socket.socket, connect: Callable[[], Awaitable[Streams]]
) -> AsyncIterator[None]:
    """Pass on what connects to `listening` while the block runs; when `connect` can't, hang up."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await connect()
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            there_writer.close()
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accepted, sock=listening)
    try:
        yield
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):  # either side may hang up; the other then gets the end of its stream
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):  # not a ConnectionError when the other side has hung up: "not connected"
        writer.write_eof()


@dataclass(frozen=True)
class HostService:
    """Ports of a host that the caller's machine reaches, each with the port that it has in the session."""

    host: str
    forwards: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, host: str, ports: list[dict[str, object]]) -> HostService:
        """Return the service for PortForward objects; a port without a frontend has the same one inside."""
        if not ports:
            raise ServiceError("no ports specified: say which ones of the host the service leads to")
        if any(port.get("protocol", "TCP") != "TCP" for port in ports):
            raise NotOfferedError("a host's UDP port as a service")
        pairs = ((port.get("frontend") or port["backend"], port["backend"]) for port in ports)
        return cls(host, tuple((int(str(frontend)), int(str(backend))) for frontend, backend in pairs))

    @property
    def key(self) -> str:
        """What stands for the service in a cache key."""
        return key_of("host", self.host, list(self.forwards))

    @property
    def label(self) -> str:
        """What it is called where progress is shown."""
        return f"{self.host} {' '.join(str(backend) for _, backend in self.forwards)}"

    @property
    def ports(self) -> tuple[Port, ...]:
        """The ports that it has in the session."""
        return tuple(Port(frontend) for frontend, _ in self.forwards)

    @asynccontextmanager
    async def served(self, listen: Callable[[int], Awaitable[socket.socket]]) -> AsyncIterator[None]:
        """Serve while the block runs; `listen` gives a listening socket for a port."""
        async with AsyncExitStack() as stack:
            for frontend, backend in self.forwards:
                listening = await listen(frontend)
                await stack.enter_async_context(relaying(listening, self._connected(backend)))
            yield

    def _connected(self, port: int) -> Callable[[], Awaitable[Streams]]:
        return lambda: asyncio.open_connection(self.host, port)

"""Forwarding of connections from a listening socket to another address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from daggerw_engine.values.host_service import HostService

CHUNK = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def forward_connections(
    listening: socket.socket, connect: Callable[[], Awaitable[Streams]]
) -> AsyncIterator[None]:
    """Forward connections to `listening` while the block runs; close them when `connect` fails."""
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

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, sock=listening)
    try:
        yield
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):  # when one side disconnects, the other gets the end of its stream
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError):  # "not connected" is no ConnectionError: the other side is gone
        writer.write_eof()


@asynccontextmanager
async def forward_host_ports(
    service: HostService, listen: Callable[[int], Awaitable[socket.socket]]
) -> AsyncIterator[None]:
    """Forward a host's ports while the block runs; `listen` returns a listening socket for a port."""
    async with AsyncExitStack() as stack:
        for frontend, backend in service.forwards:
            listening = await listen(frontend)
            connect = partial(asyncio.open_connection, service.host, backend)
            await stack.enter_async_context(forward_connections(listening, connect))
        yield

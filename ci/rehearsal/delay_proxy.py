"""Proxy that delays every fourth piece of the requests: a service that has become slow.

    python delay_proxy.py HOST PORT SECONDS [LISTENING_PORT]

Standard library only: it runs alone in a container.
"""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from itertools import cycle, repeat

_PIECE = 64 * 1024
_EVERY = 4


async def serve(host: str, port: int, seconds: float, listening: int) -> asyncio.Server:
    """Return a server that is listening."""
    delays, none = cycle([0.0] * (_EVERY - 1) + [seconds]), repeat(0.0)

    async def relay_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection(host, port)
            try:
                await asyncio.gather(_pump(reader, there_writer, delays), _pump(there_reader, writer, none))
            finally:
                there_writer.close()
        writer.close()

    return await asyncio.start_server(relay_connection, "0.0.0.0", listening)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delays: Iterator[float]) -> None:
    while piece := await reader.read(_PIECE):
        await asyncio.sleep(next(delays))
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def main(host: str, port: str, seconds: str, listening: str = "8080") -> None:
    """Print the port and serve until a signal stops it."""
    server = await serve(host, int(port), float(seconds), int(listening))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

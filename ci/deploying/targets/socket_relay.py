"""Relay of HTTP from a port to a Unix socket, for clients that have a key.

    python socket_relay.py SOCKET PORT KEY_FILE

Module code cannot open a socket of the user's machine, but a container can have it mounted. Access to
Docker is control of the machine, so the relay accepts only requests with the key. Standard library only: it
runs alone in a container.
"""

import asyncio
import contextlib
import hmac
import sys
from pathlib import Path

_HEAD = 64 * 1024
_REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def serve(socket: str, host: str, port: int, key: str) -> asyncio.Server:
    """Return a server that is listening; a connection shows the key in its first request."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            if shows(head, key):
                await _relay(head, reader, writer, socket)
            else:
                writer.write(_REFUSED)
                await writer.drain()
        await _close(writer)

    return await asyncio.start_server(accept, host, port, limit=_HEAD)


def shows(head: bytes, key: str) -> bool:
    """Return whether a request's head has the key."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    given = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("authorization:")]
    return len(given) == 1 and hmac.compare_digest(given[0].encode(), f"Bearer {key}".encode())


async def _relay(
    head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: str
) -> None:
    there_reader, there_writer = await asyncio.open_unix_connection(socket)
    there_writer.write(head)
    try:
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
    finally:
        await _close(there_writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_HEAD):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def main(socket: str, port: str, key_file: str) -> None:
    """Serve until a signal ends the program."""
    server = await serve(socket, "0.0.0.0", int(port), Path(key_file).read_text().strip())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

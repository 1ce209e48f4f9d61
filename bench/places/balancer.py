"""Load balancer of TCP connections for the benchmark's users: `balancer.py PORT [--next] ADDRESSES`.

ADDRESSES is a file with one HOST:PORT a line, read for each connection. Each goes to one of them at random,
as with kube-proxy. With `--next` it goes to another one when that one refuses it, as load balancers before
nodes do.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect_to_node(file: Path, *, next_one: bool) -> Streams | None:
    """Return a connection to one of the addresses, None when it is refused."""
    addresses = file.read_text().split()
    random.shuffle(addresses)
    for address in addresses if next_one else addresses[:1]:
        host, _, port = address.rpartition(":")
        with suppress(OSError):
            return await asyncio.open_connection(host, int(port))
    return None


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until one side has ended."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def main(port: int, file: Path, *, next_one: bool) -> None:
    """Serve until killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await connect_to_node(file, next_one=next_one)
        if inner is None:
            return writer.transport.abort()
        await asyncio.gather(carry(reader, inner[1]), carry(inner[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[-1]), next_one="--next" in sys.argv))

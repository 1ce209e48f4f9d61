"""Messages between the supervisor and its workers: JSON, one a line, on a pair of sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from app.errors import NotReady
from app.logs import log
from app.metrics import Snapshot

Message = dict[str, Any]

LINE_BYTES = 64 * 1024 * 1024
ANSWER_SECONDS = 2.0  # for the supervisor to answer, who waits less for the other workers


def as_line(message: Message) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message).encode() + b"\n"


class Channel:
    """A worker's end: it sends its counts to the supervisor and receives those of the other workers."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot
        self._writer: asyncio.StreamWriter
        self._go = asyncio.Event()
        self._collecting: asyncio.Future[list[Snapshot]] | None = None
        self._reading: asyncio.Task[None]

    async def open(self, end: socket.socket) -> None:
        """Begin to read the supervisor's messages."""
        reader, self._writer = await asyncio.open_unix_connection(sock=end, limit=LINE_BYTES)
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            if "go" in message:
                self._go.set()
            elif "report" in message:
                self.report()
            elif self._collecting and not self._collecting.done():
                self._collecting.set_result([Snapshot.of_document(each) for each in message["others"]])
        log.error("the supervisor has ended, and so does worker %d", os.getpid())
        os.kill(os.getpid(), signal.SIGTERM)

    def report(self) -> None:
        """Send the current counts."""
        self._writer.write(as_line({"snapshot": self.snapshot().as_document()}))

    async def wait_for_all(self) -> None:
        """Say that this worker can begin, and return when all can."""
        self._writer.write(as_line({"ready": True}))
        await self._go.wait()

    async def others(self) -> list[Snapshot]:
        """Return what the other workers have counted, and those that have ended. Raises NotReady."""
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.get_running_loop().create_future()
            self._writer.write(as_line({"collect": self.snapshot().as_document()}))
        try:
            return await asyncio.wait_for(asyncio.shield(self._collecting), ANSWER_SECONDS)
        except TimeoutError:
            raise NotReady("metrics: the supervisor does not respond; try again later") from None

    async def close(self) -> None:
        """Send the last counts to a supervisor that still runs, and close the channel."""
        if self._reading.done():
            self._writer.close()
            return
        self.report()
        self._reading.cancel()
        self._writer.close()
        await self._writer.wait_closed()

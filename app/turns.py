"""Turns on the event loop: long work in short pieces, with small requests between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

REQUESTS = 4  # that FastAPI begins to answer in one round


class Turns:
    """Two queues, each first come, first served: pieces of long work, and requests that need FastAPI.

    In a round one piece is done, which takes a millisecond or two, and some requests are begun.
    """

    def __init__(self) -> None:
        self._pieces: deque[Callable[[], object]] = deque()
        self._requests: deque[Callable[[], object]] = deque()
        self._going = False

    def call(self, piece: Callable[[], object]) -> None:
        """Do a piece of long work when its turn comes."""
        self._pieces.append(piece)
        self._go_on()

    async def wait(self) -> None:
        """Return when it is the caller's turn to do a piece of long work."""
        await self._turn(self._pieces)

    async def begin(self) -> None:
        """Return when it is a request's turn."""
        await self._turn(self._requests)

    async def _turn(self, queue: deque[Callable[[], object]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(lambda: None if turn.done() else turn.set_result(None))
        self._go_on()
        await turn

    def _go_on(self) -> None:
        if not self._going:
            self._going = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        now = [self._requests.popleft() for _ in range(min(REQUESTS, len(self._requests)))]
        if self._pieces:
            now.append(self._pieces.popleft())
        self._going = False
        if self._pieces or self._requests:
            self._go_on()
        for piece in now:
            piece()

"""Turns of long work: one piece in each turn of the event loop, between which it answers small requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """A queue of pieces of work, each of which takes a millisecond or two; first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()

    def call(self, piece: Callable[[], object]) -> None:
        """Do a piece of work when its turn comes."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.append(piece)

    async def wait(self) -> None:
        """Return when the caller's turn comes."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call(lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _next(self) -> None:
        piece = self._waiting[0]
        try:
            piece()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._next)

"""Batches and other long bodies: a bounded number at once, in pieces between which others are answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from app.api.scoring import Scoring
from app.connections import batch_body, request_body
from app.connections.batch_body import LONG_BYTES, NotInSlices
from app.connections.http_response import as_json
from app.connections.request_body import Batch
from app.errors import InvalidInput, Overloaded
from app.modelling.predictor import Result
from app.service import Service

COUNTED_NUMBERS = 16 * 1024  # whose bins are counted in one turn
WRITTEN_NUMBERS = 2000

Rows = Sequence[Sequence[float]]
Read = TypeVar("Read")

_row_name = re.compile(r"instances\[(\d+)\](.*)").fullmatch


class Batches:
    """The long work of one service."""

    def __init__(self, service: Service, scoring: Scoring) -> None:
        self.service, self.scoring = service, scoring
        self.turns = service.turns
        self.worked_on = 0
        self._strict = ThreadPoolExecutor(1, "strict")  # one: each takes the interpreter from the event loop

    @contextmanager
    def admission(self, body: bytes) -> Iterator[None]:
        """Count a long body as worked on while the block runs. Raises Overloaded if there are too many."""
        if len(body) <= LONG_BYTES:
            yield
            return
        if self.worked_on >= self.service.settings.limits.batches:
            raise Overloaded(f"server: {self.worked_on} batches are worked on, try again later")
        self.worked_on += 1
        try:
            yield
        finally:
            self.worked_on -= 1

    async def read(self, body: bytes, count: int, max_rows: int) -> list[float] | Batch:
        """Return what `request_body.parse` does. Raises InvalidInput."""
        if len(body) > LONG_BYTES:
            batch_body.check_size(body, count, max_rows)
            if row := request_body.quick_features(body, count):
                return row
            rows = await self._read_slices(body, count)
            if rows and len(rows) <= max_rows:
                return Batch(rows)
        return await self.read_strictly(body, lambda: request_body.parse(body, count, max_rows))

    async def read_strictly(self, body: bytes, read: Callable[[], Read]) -> Read:
        """Return what a strict reading of the body does: of a long one on a thread, one after the other."""
        if len(body) <= LONG_BYTES:
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._strict, read)

    async def _read_slices(self, body: bytes, count: int) -> list[list[float]]:
        """Return a batch's rows, or none if it takes the strict reading."""
        rows, slices = list[list[float]](), batch_body.slices(body, count)
        while True:
            await self.turns.wait()
            try:
                rows += next(slices)
            except StopIteration:
                return rows
            except NotInSlices:
                return []

    async def predict(self, rows: Rows) -> list[Result]:
        """Return the predictions for rows, and count them. Raises InvalidInput for a row that has none."""
        results = list[Result]()
        while (start := len(results)) < len(rows):
            try:
                results += await self.scoring.predict_all(rows[start : start + self.scoring.pace.rows])
            except InvalidInput as error:
                raise _of_row(error, start) from error
        await self._count(rows)
        return results

    async def _count(self, rows: Rows) -> None:
        step = max(1, COUNTED_NUMBERS // max(1, len(rows[0])))
        for start in range(0, len(rows), step):
            await self.turns.wait()
            self.service.metrics.predicted_all(rows[start : start + step])

    async def write(self, values: Sequence[Result]) -> bytes:
        """Return numbers as a JSON list."""
        parts = []
        for start in range(0, len(values), WRITTEN_NUMBERS):
            await self.turns.wait()
            parts.append(as_json(values[start : start + WRITTEN_NUMBERS])[1:-1])
        return b"[%b]" % b",".join(parts)


def _of_row(error: InvalidInput, start: int) -> InvalidInput:
    """Return the error of a slice with its row's number in the whole batch."""
    row = _row_name(error.name)
    if row is None:
        return error
    return InvalidInput(f"instances[{start + int(row[1])}]{row[2]}", error.expected, error.received)

"""Batches and other long bodies: limited in number, processed in pieces, with other requests in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import orjson

from app.api.scoring import Scoring, Shares
from app.connections import batch_body, request_body
from app.connections.batch_body import LONG_BYTES, NotInSlices
from app.connections.request_body import Batch
from app.connections.row_reader import RowReader
from app.errors import InvalidInput, Overloaded
from app.metrics import RowCounts
from app.modelling.columns import Row
from app.modelling.native_rows import native_rows
from app.modelling.portable.flat_rows import FlatRows
from app.modelling.predictor import Result
from app.service import Service

COUNTED_NUMBERS = 4 * 1024
SLICE_NUMBERS = 16 * 1024  # of a batch that was read strictly
WRITTEN_NUMBERS = 2000

Rows = Sequence[Row]
Read = TypeVar("Read")
Value = TypeVar("Value")

_row_name = re.compile(r"instances\[(\d+)\](.*)").fullmatch


@dataclass(frozen=True)
class Predicted:
    """The predictions for rows, and if wanted the probabilities of several classes for each."""

    values: list[Result]
    shares: list[Shares] | None = None


class Batches:
    """The long work of one service."""

    def __init__(self, service: Service, scoring: Scoring) -> None:
        self.service, self.scoring = service, scoring
        self.reader = RowReader(scoring.predictor.columns)
        self.turns = service.turns
        is_native = scoring.predictor.scorer == "native"
        self.native = native_rows(scoring.predictor.card.features) if is_native else None
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

    async def read(self, body: bytes, max_rows: int) -> Row | Batch:
        """Return what `request_body.parse` does. Raises InvalidInput."""
        if len(body) > LONG_BYTES and self.reader.is_numeric:
            row = request_body.quick_features(body, self.reader.count)
            if row:
                return row
        return await self.read_strictly(body, lambda: request_body.parse(body, self.reader, max_rows))

    async def check_size(self, body: bytes, max_rows: int) -> None:
        """Refuse a long body that can't be rows of the model's. Raises InvalidInput."""
        if len(body) > LONG_BYTES:
            await self.turns.wait()
            for _ in batch_body.check_size(body, self.reader, max_rows):
                await self.turns.wait()

    async def read_strictly(self, body: bytes, read: Callable[[], Read]) -> Read:
        """Return what a strict reading of the body does: of a long one on a thread, one after the other."""
        if len(body) <= LONG_BYTES:
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._strict, read)

    async def predict_slices(self, body: bytes, max_rows: int, *, shares: bool) -> Predicted | None:
        """Return the predictions for a long batch, read in slices; None if only the strict reading knows it.

        Raises InvalidInput for a row that has none.
        """
        if len(body) <= LONG_BYTES or not batch_body.is_batch(body):
            return None
        task, slices = _Task(self, shares), self._slices(body)
        while True:
            await self.turns.wait()
            try:
                rows = next(slices)
            except NotInSlices:
                return None
            except StopIteration:
                return task.finish()
            if task.rows + len(rows) > max_rows:
                return None
            await task.predict(rows)

    def _slices(self, body: bytes) -> Iterator[Rows]:
        if batch_body.is_mixed(body, self.reader, reads_null=self.native is not None):
            return batch_body.mixed_slices(body, self.reader)
        return batch_body.slices(body, self.reader.count, self.native)

    async def predict(self, rows: Rows, *, shares: bool = False) -> Predicted:
        """Return the predictions for rows, and count them. Raises InvalidInput for a row that has none."""
        task = _Task(self, shares)
        step = max(1, SLICE_NUMBERS // len(rows[0]))
        for start in range(0, len(rows), step):
            await self.turns.wait()
            await task.predict(rows[start : start + step])
        return task.finish()

    async def write(
        self, values: Sequence[Value], form: Callable[[Value], object] = lambda value: value
    ) -> bytes:
        """Return a JSON list of what a function makes of each value."""
        parts = []
        for start in range(0, len(values), WRITTEN_NUMBERS):
            await self.turns.wait()
            parts.append(orjson.dumps([*map(form, values[start : start + WRITTEN_NUMBERS])])[1:-1])
        return b"[%b]" % b",".join(parts)


class _Task:
    """The predictions for one batch."""

    def __init__(self, batches: Batches, shares: bool) -> None:
        self.wants_shares = shares
        self.scoring, self.metrics = batches.scoring, batches.service.metrics
        self.turns, self.native = batches.turns, batches.native
        self.rows = 0
        self.results: list[Result] = []
        self.shares: list[Shares] = []
        self.counts = RowCounts(self.metrics.features)
        self.error: InvalidInput | None = None

    async def predict(self, rows: Rows) -> None:
        """Predict a slice; of a batch that has failed the rest is only read, as it may not be JSON."""
        start, self.rows = self.rows, self.rows + len(rows)
        rows = FlatRows.of(rows, self.native.width) if self.native else rows
        at = 0
        while at < len(rows) and not self.error:
            if at:
                await self.turns.wait()
            part = rows[at : at + self.scoring.pace.rows]
            try:
                self.results += await self.scoring.predict_all(part)
                if self.wants_shares:
                    self.shares += await self.scoring.probabilities(part) or ()
            except InvalidInput as error:
                self.error = _of_row(error, start + at)
            at += len(part)
        if self.error:
            return
        if self.native and isinstance(rows, FlatRows):
            self.counts.add(len(rows), self.native.count(rows))
        else:
            if len(rows) * len(rows[0]) > COUNTED_NUMBERS:  # else it takes less than a millisecond
                await self.turns.wait()
            self.counts.count(rows)

    def finish(self) -> Predicted:
        """Return the results, and count the rows. Raises InvalidInput."""
        if self.error:
            raise self.error
        self.metrics.count_predictions(self.counts)
        return Predicted(self.results, self.shares or None)


def _of_row(error: InvalidInput, start: int) -> InvalidInput:
    """Return the error of a slice with its row's number in the whole batch."""
    row = _row_name(error.name)
    if row is None:
        return error
    return InvalidInput(f"instances[{start + int(row[1])}]{row[2]}", error.expected, error.received)

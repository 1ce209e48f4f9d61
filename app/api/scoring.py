"""Scoring: fast models on the event loop, others on one thread, which scores waiting rows together.

scikit-learn takes about as long for several rows as for one. So rows that arrive while it is busy are scored
together, at most as many as take twice the time of one. Each waits for at most one scoring besides its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

from app.errors import AppError
from app.modelling.columns import Row, typical_row
from app.modelling.predictor import Predictor, Result

Rows = Sequence[Row]
Shares = tuple[float, ...]  # the probability of each class
Waiting = Sequence[asyncio.Future[Any]]
Scored = TypeVar("Scored")

LOOP_SECONDS, THREAD_SECONDS = 0.002, 0.01  # of scoring a slice, for which others wait
MOST_NUMBERS = 32 * 1024  # that are scored at once
FIRST_ROWS = 64
MOST_TOGETHER = 64
TRIES = 4
FASTER = 0.9  # of the time that rows take one by one: what is cheaper, surely


class Pace:
    """Estimate of how many rows can be scored in a time, learned from earlier durations."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self.most = seconds, most
        self.rows = min(FIRST_ROWS, most)

    def learn(self, rows: int, seconds: float) -> None:
        """Take a scoring into account, unless it was too small to say anything."""
        if rows >= self.rows or seconds > self.seconds:
            fitting = int(rows * self.seconds / max(seconds, 1e-9))
            self.rows = max(1, min(fitting, 2 * self.rows, self.most))


class Scoring:
    """The scoring of one service."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        most = max(1, MOST_NUMBERS // len(predictor.card.features))
        self.pace = Pace(LOOP_SECONDS if predictor.on_loop else THREAD_SECONDS, most)
        self.thread = None if predictor.on_loop else ScoringThread(predictor)

    async def predict(self, row: Row) -> Result:
        """Return the prediction for a row. Raises InvalidInput and ModelError."""
        return await self.thread.predict(row) if self.thread else self.predictor.predict(row)

    async def predict_all(self, rows: Rows) -> list[Result]:
        """Return the predictions for as many rows as `pace` says. Raises InvalidInput and ModelError."""
        if self.thread:
            seconds, results = await self.thread.predict_all(rows)
        else:
            seconds, results = _measure(lambda: self.predictor.predict_all(rows))
        self.pace.learn(len(rows), seconds)
        return results

    async def probabilities(self, rows: Rows) -> list[Shares] | None:
        """Return what the predictor does, for as many rows as `pace` says. Raises ModelError."""
        if self.thread:
            return await self.thread.probabilities(rows)
        return self.predictor.probabilities(rows)

    async def warm_up(self) -> None:
        """Have a model that isn't for the event loop score its typical row; learn what goes together."""
        if self.thread:
            await self.thread.warm_up()


def rows_together(predictor: Predictor) -> int:
    """Return how many rows are scored in at most twice one row's time, and so at less than one by one.

    A busy machine only ever adds to a time, so the least of TRIES counts.
    """
    row, together = typical_row(predictor.columns), 1
    one = min(_measure(lambda: predictor.predict(row))[0] for _ in range(TRIES))
    while together < MOST_TOGETHER:
        rows = [row] * together * 2
        most = min(2 * one, FASTER * one * len(rows))
        if not any(_measure(lambda rows=rows: predictor.predict_all(rows))[0] <= most for _ in range(TRIES)):  # type: ignore[misc]
            break
        together *= 2
    return together


def _measure(score: Callable[[], Scored]) -> tuple[float, Scored]:
    """Return the seconds that a scoring takes, and what it gives."""
    began = perf_counter()
    scored = score()
    return perf_counter() - began, scored


class ScoringThread:
    """One thread that scores. Single rows that wait and slices of batches take turns."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.most_together = predictor, MOST_TOGETHER
        self._singles: deque[tuple[Row, asyncio.Future[Any]]] = deque()
        self._slices: deque[tuple[Callable[[Rows], Any], Rows, asyncio.Future[Any]]] = deque()
        self._busy = self._singles_had_turn = False
        self._thread = ThreadPoolExecutor(1, "scoring")

    async def warm_up(self) -> None:
        """Have the thread itself score: some libraries prepare each thread."""
        loop = asyncio.get_running_loop()
        self.most_together = await loop.run_in_executor(self._thread, rows_together, self.predictor)

    async def predict(self, row: Row) -> Result:
        """Return the prediction for a row."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._singles.append((row, result))
        self._start()
        return await result

    async def predict_all(self, rows: Rows) -> tuple[float, list[Result]]:
        """Return how long rows took, and their predictions."""
        results: tuple[float, list[Result]] = await self._slice(
            lambda rows: _measure(lambda: self.predictor.predict_all(rows)), rows
        )
        return results

    async def probabilities(self, rows: Rows) -> list[Shares] | None:
        """Return the probabilities of several classes for rows."""
        shares: list[Shares] | None = await self._slice(self.predictor.probabilities, rows)
        return shares

    async def _slice(self, score: Callable[[Rows], Any], rows: Rows) -> Any:
        """Return what a function gives for rows, when their turn has come."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._slices.append((score, rows, result))
        self._start()
        return await result

    def _start(self) -> None:
        """Score what waits, if the thread is free."""
        if self._busy or not (self._singles or self._slices):
            return
        self._busy = True
        self._singles_had_turn = bool(self._singles) and not (self._slices and self._singles_had_turn)
        if self._singles_had_turn:
            group = [self._singles.popleft() for _ in range(min(len(self._singles), self.most_together))]
            self._run([result for _, result in group], self._score_singles, [row for row, _ in group])
        else:
            score, rows, result = self._slices.popleft()
            self._run([result], lambda rows: [_result_of(score, rows)], rows)

    def _run(self, waiting: Waiting, score: Callable[[Rows], list[Any]], rows: Rows) -> None:
        scored = asyncio.get_running_loop().run_in_executor(self._thread, score, rows)
        scored.add_done_callback(lambda done: self._finish(waiting, done.result()))

    def _score_singles(self, rows: Rows) -> list[Any]:
        """Return each row's result or error; scored together, unless one of them has none."""
        if len(rows) > 1:
            try:
                return list(self.predictor.predict_all(rows))
            except AppError:
                pass  # which row it was, and in which words, one by one says
        return [_result_of(self.predictor.predict, row) for row in rows]

    def _finish(self, waiting: Waiting, results: list[Any]) -> None:
        """Give out results and errors, and go on."""
        for future, result in zip(waiting, results, strict=True):
            if future.done():  # its client has left
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._busy = False
        self._start()


def _result_of(score: Callable[[Any], Any], argument: Any) -> Any:
    """Return what a scoring gives, or the error that it raises."""
    try:
        return score(argument)
    except Exception as error:
        return error

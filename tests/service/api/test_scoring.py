"""Scoring on a thread: waiting rows are scored together, and an error stays with its own request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.api.scoring import MOST_TOGETHER, Pace, Scoring, rows_together
from app.errors import InvalidInput, ModelError
from app.modelling import columns
from app.modelling.artifact import load_card
from app.modelling.columns import Row
from app.modelling.predictor import Result, ScorerKind
from tests.service.server import TIMEOUT

Rows = Sequence[Row]


class Model:
    """A model that adds, records the sizes of its batches, and can be held up."""

    on_loop = False
    scorer: ScorerKind = "scikit-learn"

    def __init__(self, folder: Path) -> None:
        self.card = load_card(folder)
        self.columns = columns.load(folder, self.card)
        self.batches: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.fails: Callable[[Sequence[float]], Exception | None] = lambda row: None
        self.go_on.set()

    def predict(self, features: Sequence[float]) -> Result:
        """Return the sum."""
        return self.predict_all([features])[0]

    def predict_all(self, rows: Rows) -> list[Result]:
        """Return the sums."""
        self.batches.append(len(rows))
        self.begun.set()
        assert self.go_on.wait(TIMEOUT)
        if errors := [error for error in map(self.fails, rows) if error]:
            raise errors[0]
        return [sum(row) for row in rows]

    def probabilities(self, rows: Rows) -> None:
        """Know none."""


@pytest.fixture
def model(sum_model: Path) -> Model:
    return Model(sum_model)


async def hold_first_row(model: Model, scoring: Scoring) -> asyncio.Future[Result]:
    """Have the model score a first row for so long as the test wants."""
    model.go_on.clear()
    first = asyncio.ensure_future(scoring.predict([0.0]))
    assert await asyncio.to_thread(model.begun.wait, TIMEOUT)
    return first


async def results(*futures: asyncio.Future[Any]) -> list[Any]:
    """Return results and errors."""
    return await asyncio.gather(*futures, return_exceptions=True)


@pytest.mark.anyio
async def test_rows_that_wait_are_scored_together(model: Model) -> None:
    scoring = Scoring(model)
    first = await hold_first_row(model, scoring)
    waiting = [asyncio.ensure_future(scoring.predict([float(number)])) for number in range(MOST_TOGETHER + 5)]
    await asyncio.sleep(0)
    model.go_on.set()
    assert await results(first, *waiting) == [0.0, *map(float, range(MOST_TOGETHER + 5))]
    assert model.batches == [1, MOST_TOGETHER, 5]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "error", [InvalidInput("features", "a small number", "2"), ModelError("out of trees")]
)
async def test_a_row_that_fails_leaves_the_others_their_results(model: Model, error: Exception) -> None:
    scoring = Scoring(model)
    model.fails = lambda row: error if row == [2.0] else None
    first = await hold_first_row(model, scoring)
    waiting = [asyncio.ensure_future(scoring.predict([float(number)])) for number in range(4)]
    await asyncio.sleep(0)
    model.go_on.set()
    assert await results(first, *waiting) == [0.0, 0.0, 1.0, error, 3.0]


@pytest.mark.anyio
async def test_an_unexpected_error_is_its_own_request_s(model: Model) -> None:
    scoring = Scoring(model)
    model.fails = lambda row: ZeroDivisionError() if row == [1.0] else None
    found = await results(*(asyncio.ensure_future(scoring.predict([float(number)])) for number in range(2)))
    assert found[0] == 0.0
    assert isinstance(found[1], ZeroDivisionError)
    assert await scoring.predict([5.0]) == 5.0


@pytest.mark.anyio
async def test_single_rows_and_slices_of_batches_take_turns(model: Model) -> None:
    scoring = Scoring(model)
    first = await hold_first_row(model, scoring)
    slices = [asyncio.ensure_future(scoring.predict_all([[1.0]] * 3)) for _ in range(2)]
    singles = [asyncio.ensure_future(scoring.predict([1.0])) for _ in range(2)]
    await asyncio.sleep(0)
    model.go_on.set()
    await results(first, *slices, *singles)
    assert model.batches == [1, 3, 2, 3]


@pytest.mark.anyio
async def test_a_client_that_has_left_holds_up_no_others(model: Model) -> None:
    scoring = Scoring(model)
    first = await hold_first_row(model, scoring)
    leaving, staying = (asyncio.ensure_future(scoring.predict([number])) for number in (1.0, 2.0))
    await asyncio.sleep(0)
    leaving.cancel()
    model.go_on.set()
    assert await first == 0.0
    assert await staying == 2.0


@pytest.mark.anyio
async def test_a_slice_s_error_is_its_own(model: Model) -> None:
    scoring = Scoring(model)
    model.fails = lambda row: InvalidInput("instances[0]", "a small number", "2")
    with pytest.raises(InvalidInput, match="a small number"):
        await scoring.predict_all([[2.0]])


def test_rows_go_together_only_when_that_is_cheaper(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("app.api.scoring.perf_counter", lambda: clock[0])

    def costs(one: float, each: float) -> int:
        def predict_all(rows: Rows) -> list[Result]:
            clock[0] += one + each * len(rows)
            return [0.0] * len(rows)

        monkeypatch.setattr(model, "predict_all", predict_all)
        return rows_together(model)

    assert costs(one=1.0, each=0.0) == MOST_TOGETHER
    assert costs(one=1.0, each=0.1) == 8
    assert costs(one=0.0, each=1.0) == 1


def test_a_pace_follows_what_scoring_takes() -> None:
    pace = Pace(seconds=0.01, most=1000)
    first = pace.rows
    pace.learn(first, 0.001)
    assert pace.rows == 2 * first
    pace.learn(3, 0.001)  # too few rows to say anything
    assert pace.rows == 2 * first
    pace.learn(2 * first, 1.0)
    assert pace.rows == 2 * first // 100
    pace.learn(pace.rows, 10.0)
    assert pace.rows == 1
    for _ in range(20):
        pace.learn(pace.rows, 0.0)
    assert pace.rows == 1000

"""Fit of the team's estimator, and its metrics on rows that it hasn't seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.modelling.estimator import Estimator
from training.judging.metrics import Judge
from training.reading.table import Data, Examples
from training.reproducibility import keep_winner
from training.settings import Settings
from training.team_code import team_code


@dataclass(frozen=True)
class Fitted:
    """An estimator, the data that it was fitted to, and what it and its columns are worth."""

    estimator: Estimator
    data: Data
    metrics: Mapping[str, float]
    importances: Mapping[str, float]


def fit(estimator: Estimator, data: Data, settings: Settings) -> Fitted:
    """Fit the estimator to three quarters of the rows.

    Raises BadData, or BelowMinimum when the rows held out are predicted worse than the minimum.
    """
    judge = Judge.of(data.trained.classes, settings)
    with team_code(f"{data.source}: make_model()'s estimator cannot be fitted", _other_kinds(data.trained)):
        estimator.fit(data.trained.x, data.trained.y)
    estimator = keep_winner(estimator)
    with team_code("make_model(): the estimator fails on rows held out"):
        metrics = judge.evaluate(estimator, data.held_out)
        judge.check(metrics, data.trained, data.held_out)
        return Fitted(estimator, data, metrics, judge.importances(estimator, data.held_out))


def _other_kinds(trained: Examples) -> str:
    """Return in words which columns an estimator may have stumbled over."""
    others: dict[str, str] = {
        name: kind for name, kind in trained.kinds.items() if kind in ("category", "text")
    }
    others |= {name: "with missing values" for name in trained.kinds if trained.x[name].isna().any()}
    if not others:
        return ""
    listed = ", ".join(f"{name} ({word})" for name, word in others.items())
    return f" (these columns need preparation in make_model(), or to be left out with `features`: {listed})"

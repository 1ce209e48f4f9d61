"""Fit the team's estimator, and measure it on rows that it hasn't seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sklearn.base import is_regressor
from sklearn.model_selection import train_test_split

from app.errors import BadData, BelowMinimum
from app.modelling.estimator import Estimator
from training.describe import evaluate
from training.settings import Settings
from training.table import Examples, Table, read_examples

HELD_OUT = 0.25


@dataclass(frozen=True)
class Fitted:
    """An estimator, the rows that it was fitted to, the rows held out, and what it is worth on these."""

    estimator: Estimator
    trained: Examples
    held_out: Examples
    metrics: Mapping[str, float]


def fit(estimator: Estimator, table: Table, settings: Settings) -> Fitted:
    """Fit the estimator to three quarters of the rows.

    Raises BadData, or BelowMinimum when the rows held out are predicted worse than the minimum.
    """
    examples = read_examples(table, settings, regression=is_regressor(estimator))
    trained, held_out = _parted(examples)
    try:
        estimator.fit(trained.x, trained.y)
    except ValueError as error:
        raise BadData(f"{table.source}: make_model()'s estimator cannot be fitted: {error}") from error
    metrics = evaluate(estimator, held_out)
    score, value = next(iter(metrics.items()))
    if not value >= settings.minimum_score:
        raise BelowMinimum(f"{score} on the rows held out is {value:.4f}, below {settings.minimum_score}")
    return Fitted(estimator, trained, held_out, metrics)


def _parted(examples: Examples) -> tuple[Examples, Examples]:
    stratify = examples.y if examples.classes else None
    x, x_test, y, y_test = train_test_split(
        examples.x, examples.y, test_size=HELD_OUT, random_state=0, stratify=stratify
    )
    return Examples(x, y, examples.classes), Examples(x_test, y_test, examples.classes)

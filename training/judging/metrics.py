"""Metrics on the rows held out, the minimum that a model must reach, and the importance of columns.

A model must also beat a dummy that knows the target's frequencies (or its mean) and no feature: where 92 % of
the rows are of one class, an accuracy of 0.92 is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pandas import DataFrame
from sklearn import metrics
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.inspection import permutation_importance

from app.errors import BadData, BelowMinimum
from app.modelling.estimator import Estimator
from training.reading.table import Examples
from training.settings import Settings

SHUFFLES = 5
MOST_SHUFFLED = 2000  # rows held out that importance is measured on


@dataclass(frozen=True)
class Metric:
    """A figure for predictions of rows held out; `needs` says of what kind of target, and what is judged."""

    name: str
    needs: str  # "classes" (labels), "probabilities", "two classes" or "numbers"
    score: Callable[[Any, Any], float]
    greater_is_better: bool = True


def _f1(y: Any, predicted: Any) -> float:
    average = "binary" if set(np.unique(y)) | set(np.unique(predicted)) <= {0, 1} else "macro"
    return float(metrics.f1_score(y, predicted, average=average, zero_division=0))


def _log_loss(y: Any, probabilities: Any) -> float:
    return float(metrics.log_loss(y, probabilities, labels=range(probabilities.shape[1])))


METRICS = (
    Metric("accuracy", "classes", metrics.accuracy_score),
    Metric("balanced_accuracy", "classes", metrics.balanced_accuracy_score),
    Metric("f1", "classes", _f1),
    Metric("roc_auc", "two classes", metrics.roc_auc_score),
    Metric("average_precision", "two classes", metrics.average_precision_score),
    Metric("log_loss", "probabilities", _log_loss, greater_is_better=False),
    Metric("r2", "numbers", metrics.r2_score),
    Metric("mean_absolute_error", "numbers", metrics.mean_absolute_error, greater_is_better=False),
    Metric("root_mean_squared_error", "numbers", metrics.root_mean_squared_error, greater_is_better=False),
)
BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Judge:
    """Judges estimators for a target by metrics, the one with the first minimum first."""

    has_classes: bool
    positive: int | None
    minimum: Mapping[str, float]

    @classmethod
    def of(cls, classes: Sequence[str], settings: Settings) -> Judge:
        """Return the judge of a model with these settings. Raises BadData when its minimum can't be met."""
        positive = classes.index(settings.positive or classes[1]) if len(classes) == 2 else None
        minimum = dict(settings.minimum)
        if settings.minimum_score is not None:
            minimum = {"accuracy" if classes else "r2": settings.minimum_score} | minimum
        judge = cls(bool(classes), positive, minimum)
        names = [metric.name for metric in judge.metrics(probabilities=True)]
        if not minimum:
            raise BadData(f"minimum: expected a metric's least value, such as minimum = {{{names[0]} = 0.7}}")
        for name in minimum:
            if name not in names:
                raise BadData(f"minimum: no metric {name!r} for this target; there are {', '.join(names)}")
        return judge

    def metrics(self, *, probabilities: bool) -> list[Metric]:
        """Return the metrics that fit the target, and an estimator with probabilities or without."""
        kinds = {"classes"} if self.has_classes else {"numbers"}
        if self.has_classes and probabilities:
            kinds |= {"probabilities"} if self.positive is None else {"probabilities", "two classes"}
        first = next(iter(self.minimum), None)
        return sorted(
            (metric for metric in METRICS if metric.needs in kinds), key=lambda metric: metric.name != first
        )

    def evaluate(self, estimator: Estimator, held_out: Examples) -> dict[str, float]:
        """Return the estimator's metrics. Raises BadData when it fails on the rows held out."""
        probable = hasattr(estimator, "predict_proba")
        if self.positive is not None and not probable:
            raise BadData(
                "make_model(): two classes need an estimator with predict_proba, which "
                f"{type(estimator).__name__} has not; wrap it in CalibratedClassifierCV"
            )
        metrics = self.metrics(probabilities=probable)
        if missing := self.minimum.keys() - {metric.name for metric in metrics}:
            raise BadData(f"make_model(): {', '.join(missing)} needs an estimator with predict_proba")
        try:
            return {each.name: self._measure(each, estimator, held_out.x, held_out.y) for each in metrics}
        except ValueError as error:
            raise BadData(f"make_model(): the estimator fails on rows held out: {error}") from error

    def check(self, found: Mapping[str, float], trained: Examples, held_out: Examples) -> None:
        """Raise BelowMinimum when a minimum isn't reached, or a dummy is as good."""
        for name, limit in self.minimum.items():
            if not is_as_good(name, found[name], limit):
                word = "below" if BY_NAME[name].greater_is_better else "above"
                raise BelowMinimum(f"{name} on the rows held out is {found[name]:.4f}, {word} {limit}")
        first = next(iter(self.minimum))
        dummy = self._measure(BY_NAME[first], _dummy(trained), held_out.x, held_out.y)
        if is_as_good(first, dummy, found[first]):
            raise BelowMinimum(
                f"{first} on the rows held out is {found[first]:.4f}, no better than {dummy:.4f} of a dummy "
                "that knows no feature; give the model features that say more, or judge by another metric, "
                "such as minimum = {roc_auc = 0.7}"
            )

    def importances(self, estimator: Estimator, held_out: Examples) -> dict[str, float]:
        """Return how much of the first metric is lost on average when a column is shuffled."""
        metric = self.metrics(probabilities=hasattr(estimator, "predict_proba"))[0]
        sign = 1 if metric.greater_is_better else -1
        found = permutation_importance(
            estimator,
            held_out.x,
            held_out.y,
            scoring=lambda *arguments: sign * self._measure(metric, *arguments),
            n_repeats=SHUFFLES,
            random_state=0,
            max_samples=min(MOST_SHUFFLED, len(held_out.y)),
        )
        return dict(zip(held_out.kinds, found.importances_mean.tolist(), strict=True))

    def _measure(self, metric: Metric, estimator: Estimator, x: DataFrame, y: Any) -> float:
        if metric.needs == "probabilities":
            return float(metric.score(y, estimator.predict_proba(x)))
        if metric.needs == "two classes":
            return float(metric.score(y == self.positive, estimator.predict_proba(x)[:, self.positive]))
        if metric.name == "f1" and self.positive is not None:
            return float(metric.score(y == self.positive, estimator.predict(x) == self.positive))
        return float(metric.score(y, estimator.predict(x)))


def is_as_good(name: str, value: float, limit: float) -> bool:
    """Return whether a metric's value is as good as a limit, or better."""
    return value >= limit if BY_NAME[name].greater_is_better else value <= limit


def _dummy(trained: Examples) -> Estimator:
    dummy: Estimator = DummyClassifier(strategy="prior") if trained.classes else DummyRegressor()
    dummy.fit(trained.x, trained.y)
    return dummy

"""Write a fitted scikit-learn estimator as a portable model, or say why that can't be done.

What an estimator predicts is only known of the very classes named here: a subclass may do anything. Whether
it was understood is for `training.parity` to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, tree
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from app.errors import NotPortable
from app.modelling.portable_model import FORMAT, MAX_NODES, Answer, Model, Operation, Step, Tree
from training.trees import Nodes

LINEAR = (
    *(linear_model.ARDRegression, linear_model.BayesianRidge, linear_model.ElasticNet),
    *(linear_model.ElasticNetCV, linear_model.HuberRegressor, linear_model.Lars, linear_model.LarsCV),
    *(linear_model.Lasso, linear_model.LassoCV, linear_model.LassoLars, linear_model.LassoLarsCV),
    *(linear_model.LassoLarsIC, linear_model.LinearRegression, linear_model.OrthogonalMatchingPursuit),
    *(linear_model.QuantileRegressor, linear_model.Ridge, linear_model.RidgeCV, linear_model.SGDRegressor),
    linear_model.TheilSenRegressor,
)
LOGISTIC = (linear_model.LogisticRegression, linear_model.LogisticRegressionCV)
SINGLE_TREES = (
    *(tree.DecisionTreeClassifier, tree.DecisionTreeRegressor),
    *(tree.ExtraTreeClassifier, tree.ExtraTreeRegressor),
)
FORESTS = (
    *(ensemble.RandomForestClassifier, ensemble.RandomForestRegressor),
    *(ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor),
)
BOOSTING = (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor)
HISTOGRAM = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)
SUMMED_LOSSES = ("log_loss", "squared_error", "absolute_error", "huber", "quantile")


def export(estimator: Any, positive: int | None) -> Model:
    """Return the model that predicts as the estimator does. Raises NotPortable with the reason.

    `positive` is the class whose probability is served, when there are two.
    """
    *before, final = split(estimator)
    steps = tuple(step for transformer in before for step in _steps(transformer))
    for kinds, exported in _KINDS:
        if type(final) in kinds:
            return replace(exported(final, positive), steps=steps)
    raise NotPortable(f"{type(final).__name__} has no portable form")


def split(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline that do something, the predicting one last."""
    if type(estimator) is not Pipeline:
        return [estimator]
    return [step for _, step in estimator.steps if step not in (None, "passthrough")]


def _steps(transformer: Any) -> Iterator[Step]:
    kind = type(transformer)
    if kind is StandardScaler:
        yield from _step("subtract", transformer.mean_ if transformer.with_mean else None)
        yield from _step("divide", transformer.scale_)
    elif kind is RobustScaler:
        yield from _step("subtract", transformer.center_)
        yield from _step("divide", transformer.scale_)
    elif kind is MinMaxScaler:
        yield from _step("multiply", transformer.scale_)
        yield from _step("add", transformer.min_)
        yield from _step("clip", transformer.feature_range if transformer.clip else None)
    elif kind is MaxAbsScaler:
        yield from _step("divide", transformer.scale_)
        yield from _step("clip", (-1, 1) if transformer.clip else None)
    elif kind is FunctionTransformer and transformer.func is np.clip:
        yield from _step("clip", _limits(transformer.kw_args or {}))
    else:
        raise NotPortable(f"{kind.__name__} has no portable form")


def _step(operation: Operation, values: Any) -> Iterator[Step]:
    if values is not None:
        yield Step(operation, tuple(map(float, values)))


def _limits(arguments: Mapping[str, object]) -> list[object]:
    if sorted(arguments) != ["a_max", "a_min"] or not all(map(np.isscalar, arguments.values())):
        raise NotPortable(f"np.clip has a portable form with two numbers, not with {arguments}")
    return [arguments["a_min"], arguments["a_max"]]


def _linear(final: Any, positive: int | None) -> Model:
    return _model(final, positive, np.ravel(final.intercept_), coefficients=[final.coef_])


def _logistic(final: Any, positive: int | None) -> Model:
    intercepts = np.broadcast_to(final.intercept_, len(final.coef_))
    return _model(final, positive, intercepts, coefficients=final.coef_)


def _forest(final: Any, positive: int | None) -> Model:
    members = getattr(final, "estimators_", [final])
    _check_size(sum(member.tree_.node_count for member in members))
    classes = len(getattr(final, "classes_", []))
    several = classes > 2
    served = range(classes) if several else [positive or 0]
    trees = [
        Nodes.of_tree(member.tree_, member.tree_.value[:, 0, served]).tree(None if several else 0)
        for member in members
    ]
    # Its scores are probabilities already.
    return replace(_model(final, None, [0.0] * len(served), trees=trees), divisor=len(members))


def _boosting(final: Any, positive: int | None) -> Model:
    if final.init not in (None, "zero"):
        raise NotPortable(f"boosting that starts from an estimator ({final.init}) has no portable form")
    _check_loss(final)
    _check_size(sum(member.tree_.node_count for member in final.estimators_.flat))
    anything = np.zeros((1, final.n_features_in_), dtype=np.float32)
    (start,) = final._raw_predict_init(anything)
    trees = [
        Nodes.of_tree(member.tree_, final.learning_rate * member.tree_.value[:, 0]).tree(output)
        for stage in final.estimators_
        for output, member in enumerate(stage)
    ]
    return _model(final, positive, start, trees=trees)


def _histogram(final: Any, positive: int | None) -> Model:
    if final.is_categorical_ is not None and final.is_categorical_.any():
        raise NotPortable("boosting on categories has no portable form")
    _check_loss(final)
    _check_size(sum(len(member.nodes) for stage in final._predictors for member in stage))
    trees = [
        Nodes.of_histogram(member.nodes).tree(output)
        for stage in final._predictors
        for output, member in enumerate(stage)
    ]
    return _model(final, positive, final._baseline_prediction.ravel(), trees=trees)


_KINDS: tuple[tuple[tuple[type, ...], Callable[[Any, int | None], Model]], ...] = (
    (LINEAR, _linear),
    (LOGISTIC, _logistic),
    ((*SINGLE_TREES, *FORESTS), _forest),
    (BOOSTING, _boosting),
    (HISTOGRAM, _histogram),
)


def _check_loss(final: Any) -> None:
    if final.loss not in SUMMED_LOSSES:
        raise NotPortable(f"boosting with the loss {final.loss!r} has no portable form")


def _check_size(nodes: int) -> None:
    if nodes > MAX_NODES:
        raise NotPortable(f"{nodes} nodes are more than the {MAX_NODES} of a portable model")


def _model(
    final: Any,
    positive: int | None,
    start: Iterable[Any],
    *,
    coefficients: Iterable[Iterable[Any]] = (),
    trees: Iterable[Tree] = (),
) -> Model:
    scores = tuple(map(float, start))
    answer: Answer = "value" if positive is None else "sigmoid" if positive else "complement"
    return Model(
        format=FORMAT,
        features=int(final.n_features_in_),
        steps=(),
        start=scores,
        coefficients=tuple(tuple(map(float, row)) for row in coefficients),
        trees=tuple(trees),
        divisor=1,
        answer="index" if len(scores) > 1 else answer,
    )

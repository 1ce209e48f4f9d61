"""Write a fitted scikit-learn estimator as a portable model, or say why that can't be done.

What an estimator predicts is only known of the very classes named here: a subclass may do anything. Whether
it was understood is for `parity` to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import ensemble, linear_model, tree
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from app.errors import NotPortable
from app.modelling.portable.binary_format import FORMAT, MAX_BYTES
from app.modelling.portable.model import MAX_NODES, Answer, Forest, Model, doubles
from training.portable_form import histogram_categories, lightgbm_trees, xgboost_trees
from training.portable_form.preparation.forms import write_steps
from training.portable_form.preparation.own_encoding import OwnEncoding
from training.portable_form.preparation.prepared_row import Names, PreparedRow
from training.portable_form.trees import Nodes, forest

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
LINEAR_TOLERANCE = 1e-12  # scikit-learn itself differs so between a row and a batch
SEARCHES = (GridSearchCV, RandomizedSearchCV)
SUMMED_LOSSES = ("log_loss", "squared_error", "absolute_error", "huber", "quantile")


def export(estimator: Any, positive: int | None, names: Sequence[Names] | None = None) -> Model:
    """Return the model that predicts as the estimator does. Raises NotPortable with the reason.

    `positive` is the class whose probability is served, when there are two; `names` say which columns have
    categories, in the order of their codes.
    """
    parts = split(estimator)
    *before, final = parts
    row = PreparedRow(names or [None] * parts[0].n_features_in_)
    features, outputs = len(row.names), list(range(len(row.names)))
    for transformer in before:
        outputs = write_steps(transformer, row, outputs)
    model = _predicting(final, positive)
    outputs = own_encoding(final, [row.names[output] for output in outputs]).apply(row, outputs)
    return replace(model, features=features, steps=row.finish(outputs))


def _predicting(final: Any, positive: int | None) -> Model:
    """Return the model of a pipeline's last step."""
    for kinds, exported in _KINDS:
        if type(final) in kinds:
            return exported(final, positive)
    for names, read_trees in _OPTIONAL:
        if _qualified(final) in names:
            trees, start = read_trees(final)
            return _model(final, positive, start, trees=trees)
    raise NotPortable(f"{type(final).__name__} has no portable form")


def tolerance(final: Any) -> float:
    """Return by how much a portable model's scores may differ, times the score or 1."""
    if _qualified(final) in xgboost_trees.ESTIMATORS:
        return xgboost_trees.TOLERANCE
    return LINEAR_TOLERANCE if type(final) in (*LINEAR, *LOGISTIC) else 0.0


def raw_scores(estimator: Any, x: Any) -> Any:
    """Return the scores that an optional package's estimator makes its predictions of, else None."""
    *before, final = split(estimator)
    if not (arguments := _RAW_SCORES.get(_qualified(final))):
        return None
    for transformer in before:
        x = transformer.transform(x)
    return final.predict(x, **arguments)


def _qualified(estimator: Any) -> str:
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"


def own_encoding(final: Any, names: Sequence[Names]) -> OwnEncoding:
    """Return what an estimator does to categories before its trees."""
    if type(final) in HISTOGRAM and final.is_categorical_ is not None:
        return histogram_categories.encoding(final, names)
    if _qualified(final) in lightgbm_trees.ESTIMATORS:
        return lightgbm_trees.encoding(final, names)
    return OwnEncoding(names, {}, range(len(names)))


def split(estimator: Any) -> list[Any]:
    """Return the steps of a pipeline, or of the best one of a search, that do something."""
    if type(estimator) in SEARCHES:
        return split(estimator.best_estimator_)
    if type(estimator) is not Pipeline:
        return [estimator]
    *before, last = [step for _, step in estimator.steps]
    return [*(step for step in before if step not in (None, "passthrough")), *split(last)]


def _linear(final: Any, positive: int | None) -> Model:
    return _model(final, positive, np.ravel(final.intercept_), coefficients=final.coef_)


def _logistic(final: Any, positive: int | None) -> Model:
    intercepts = np.broadcast_to(final.intercept_, len(final.coef_))
    return _model(final, positive, intercepts, coefficients=final.coef_)


def _forest(final: Any, positive: int | None) -> Model:
    members = getattr(final, "estimators_", [final])
    classes = len(getattr(final, "classes_", []))
    several = classes > 2
    served = range(classes) if several else [positive or 0]
    _check_size(sum(member.tree_.node_count for member in members), len(served))
    grown = (Nodes.of_tree(member.tree_, member.tree_.value[:, 0, served]) for member in members)
    outputs = [-1 if several else 0] * len(members)
    # Its scores are probabilities already.
    exported = _model(final, None, [0.0] * len(served), trees=forest(grown, outputs, "single"))
    return replace(exported, divisor=len(members), answer="shares" if several else exported.answer)


def _boosting(final: Any, positive: int | None) -> Model:
    if final.init not in (None, "zero"):
        raise NotPortable(f"boosting that starts from an estimator ({final.init}) has no portable form")
    _check_loss(final)
    _check_size(sum(member.tree_.node_count for member in final.estimators_.flat))
    anything = np.zeros((1, final.n_features_in_), dtype=np.float32)
    (start,) = final._raw_predict_init(anything)
    members = [member.tree_ for member in final.estimators_.flat]
    grown = (Nodes.of_tree(member, final.learning_rate * member.value[:, 0]) for member in members)
    trees = forest(grown, _turns(final.estimators_), "single")
    return _model(final, positive, start, trees=trees)


def _histogram(final: Any, positive: int | None) -> Model:
    _check_loss(final)
    members = [member for stage in final._predictors for member in stage]
    _check_size(sum(len(member.nodes) for member in members))
    known = histogram_categories.known_bits(final)
    grown = (
        Nodes.of_histogram(member.nodes, histogram_categories.bitsets(member, known)) for member in members
    )
    trees = forest(grown, _turns(final._predictors), "double")
    return _model(final, positive, final._baseline_prediction.ravel(), trees=trees)


def _turns(stages: Iterable[Iterable[object]]) -> list[int]:
    """Return the score of each tree: those of a stage take turns."""
    return [output for stage in stages for output, _ in enumerate(stage)]


_KINDS: tuple[tuple[tuple[type, ...], Callable[[Any, int | None], Model]], ...] = (
    (LINEAR, _linear),
    (LOGISTIC, _logistic),
    ((*SINGLE_TREES, *FORESTS), _forest),
    (BOOSTING, _boosting),
    (HISTOGRAM, _histogram),
)


# Packages that training may have: their classes are known by name.
_OPTIONAL = (
    (lightgbm_trees.ESTIMATORS, lightgbm_trees.read_trees),
    (xgboost_trees.ESTIMATORS, xgboost_trees.read_trees),
)

_RAW_SCORES = {
    **{name: {"raw_score": True} for name in lightgbm_trees.ESTIMATORS},
    **{name: {"output_margin": True} for name in xgboost_trees.ESTIMATORS},
}


def _check_loss(final: Any) -> None:
    if final.loss not in SUMMED_LOSSES:
        raise NotPortable(f"boosting with the loss {final.loss!r} has no portable form")


def _check_size(nodes: int, leaf_width: int = 1) -> None:
    if nodes > MAX_NODES:
        raise NotPortable(f"{nodes} nodes are more than the {MAX_NODES} of a portable model")
    # Half of the nodes are leaves; a node takes at least 12 bytes.
    if (size := nodes * (12 + 4 * leaf_width)) > MAX_BYTES:
        raise NotPortable(f"{size} bytes of trees are more than the {MAX_BYTES} of a portable model")


def _model(
    final: Any,
    positive: int | None,
    start: Iterable[Any],
    *,
    coefficients: NDArray[Any] | None = None,
    trees: Forest | None = None,
) -> Model:
    scores = tuple(map(float, start))
    answer: Answer = "value" if positive is None else "sigmoid" if positive else "complement"
    return Model(
        format=FORMAT,
        features=int(final.n_features_in_),
        steps=(),
        start=scores,
        coefficients=None if coefficients is None else doubles(np.ravel(coefficients).tolist()),
        forest=trees,
        divisor=1,
        answer="softmax" if len(scores) > 1 else answer,
    )

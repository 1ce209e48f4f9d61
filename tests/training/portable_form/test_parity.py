"""Estimators with a portable form that predicts the same, and refusals of the others."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    SGDRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from app.errors import NotPortable
from app.modelling.artifact import Bins, Feature
from app.modelling.columns import Column
from app.modelling.data_frame import to_frame
from app.modelling.portable.model import CATEGORY, LEAF, Forest, Model, Precision, doubles
from app.modelling.portable.scorer import scorer
from tests.service.random_models import NODES
from training.portable_form import export, parity, trees

Rows = parity.Rows
BINARY, SEVERAL, QUANTITY = load_breast_cancer, load_wine, load_diabetes
CLIP = FunctionTransformer(np.clip, kw_args={"a_min": -1e100, "a_max": 1e100})

CLASSIFIERS: list[Any] = [
    make_pipeline(StandardScaler(), CLIP, LogisticRegression()),
    make_pipeline(MinMaxScaler((-1, 1), clip=True), LogisticRegression(fit_intercept=False)),
    make_pipeline(
        StandardScaler(with_mean=False), LogisticRegressionCV(Cs=2, cv=2, use_legacy_attributes=False)
    ),
    make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(20, random_state=0, n_jobs=2),
    make_pipeline(MinMaxScaler(), ExtraTreesClassifier(20, random_state=0)),
    make_pipeline("passthrough", GradientBoostingClassifier(n_estimators=20, random_state=0)),
    GradientBoostingClassifier(n_estimators=20, init="zero", subsample=0.5, random_state=0),
    make_pipeline(RobustScaler(), HistGradientBoostingClassifier(max_iter=20)),
]
REGRESSORS: list[Any] = [
    LinearRegression(),
    make_pipeline(StandardScaler(with_std=False), Ridge()),
    make_pipeline(RobustScaler(with_centering=False), Lasso()),
    make_pipeline(MaxAbsScaler(clip=True), ElasticNet(fit_intercept=False)),
    make_pipeline(StandardScaler(), HuberRegressor()),
    make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
    DecisionTreeRegressor(max_depth=5, criterion="absolute_error", random_state=0),
    RandomForestRegressor(20, random_state=0, n_jobs=2),
    ExtraTreesRegressor(20, random_state=0),
    GradientBoostingRegressor(n_estimators=20, loss="huber", random_state=0),
    make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=20, loss="absolute_error")),
]


def numbers(x: Rows) -> list[Column]:
    """Return columns of numbers for rows."""
    return [Column(Feature(f"x{index}", 0.0, 1.0, {}, Bins((), (1.0,)))) for index in range(x.shape[1])]


def fit(estimator: Any, data: Callable[..., Any]) -> tuple[Any, Rows]:
    """Return the estimator, fitted to a data set of scikit-learn's, and the rows that it saw."""
    x, y = data(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether it converged does not matter here
        return estimator.fit(to_frame(numbers(x), x), y), x


def case(estimator: Any, data: Callable[..., Any], positive: int | None) -> Any:
    """Return a test case that is called after its estimator and data."""
    steps = "-".join(type(step).__name__ for step in export.split(estimator))
    return pytest.param(estimator, data, positive, id=f"{steps}-{data.__name__}-{positive}")


CASES = [case(each, BINARY, 1) for each in CLASSIFIERS]
CASES += [case(each, BINARY, 0) for each in CLASSIFIERS[::3]]  # linear, a tree, trees, boosting
CASES += [case(each, SEVERAL, None) for each in CLASSIFIERS]
CASES += [case(each, QUANTITY, None) for each in REGRESSORS]


@pytest.mark.parametrize(("estimator", "data", "positive"), CASES)
def test_a_portable_model_predicts_what_its_estimator_does(
    estimator: Any, data: Callable[..., Any], positive: int | None
) -> None:
    estimator, x = fit(estimator, data)
    model = export.export(estimator, positive)
    parity.check(model, estimator, positive, numbers(x), x)
    found = scorer(model)
    assert found.all(x.tolist()) == [found.one(row) for row in x.tolist()]


class OwnRegression(LinearRegression):  # type: ignore[misc]
    """A subclass, which may predict anything."""


REFUSED: list[tuple[Any, Callable[..., Any], str]] = [
    (KNeighborsClassifier(), BINARY, "KNeighborsClassifier has no portable form"),
    (PoissonRegressor(), QUANTITY, "PoissonRegressor has no portable form"),
    (OwnRegression(), QUANTITY, "OwnRegression has no portable form"),
    (make_pipeline(PolynomialFeatures(), Ridge()), QUANTITY, "PolynomialFeatures has no portable form"),
    (make_pipeline(FunctionTransformer(np.log1p), Ridge()), QUANTITY, "FunctionTransformer has no portable"),
    (
        make_pipeline(FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": None}), Ridge()),
        QUANTITY,
        "np.clip has a portable form with two numbers, not with {'a_min': 0, 'a_max': None}",
    ),
    (
        make_pipeline(FunctionTransformer(np.clip, kw_args={"a_min": [0] * 10, "a_max": 1}), Ridge()),
        QUANTITY,
        "np.clip has a portable form with two numbers",
    ),
    (
        GradientBoostingRegressor(n_estimators=2, init=LinearRegression()),
        QUANTITY,
        r"boosting that starts from an estimator \(LinearRegression\(\)\) has no portable form",
    ),
    (
        GradientBoostingClassifier(n_estimators=2, loss="exponential"),
        BINARY,
        "boosting with the loss 'exponential' has no portable form",
    ),
    (
        HistGradientBoostingRegressor(max_iter=2, loss="poisson"),
        QUANTITY,
        "boosting with the loss 'poisson' has no portable form",
    ),
]


@pytest.mark.parametrize(("estimator", "data", "reason"), REFUSED, ids=[reason for *_, reason in REFUSED])
def test_what_has_no_portable_form_is_refused_by_name(
    estimator: Any, data: Callable[..., Any], reason: str
) -> None:
    estimator, _ = fit(estimator, data)
    with pytest.raises(NotPortable, match=reason):
        export.export(estimator, 1 if data is BINARY else None)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
    ],
    ids=str,
)
def test_too_many_nodes_are_refused_before_anything_is_made_of_them(
    estimator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_NODES", 10)
    estimator, _ = fit(estimator, BINARY)
    with pytest.raises(NotPortable, match=r"\d\d nodes are more than the 10 of a portable model"):
        export.export(estimator, 1)


def nudge_first_threshold(model: Model) -> Model:
    """Return the model with the threshold of its first split a bit larger."""
    assert model.forest is not None
    nodes = memoryview(bytearray(model.forest.nodes))
    kind = np.float32 if model.forest.precision == "single" else np.float64
    threshold = np.frombuffer(nodes, kind, 1, 8)
    threshold[0] = np.nextafter(threshold[0], kind(np.inf))
    return replace(model, forest=replace(model.forest, nodes=nodes))


def nudge(numbers: tuple[float, ...]) -> tuple[float, ...]:
    """Return the numbers with the first one a bit larger."""
    return (float(np.nextafter(numbers[0], np.inf)), *numbers[1:])


def nudge_start(model: Model) -> Model:
    return replace(model, start=nudge(model.start))


def small_table(**_: object) -> tuple[Rows, NDArray[np.float64]]:
    return np.arange(40.0).reshape(20, 2), np.arange(20.0)


CLIPPED = make_pipeline(FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1e9}), Ridge())
SPOILT: list[tuple[Any, Callable[..., Any], Callable[[Model], Model], str]] = [
    (GradientBoostingRegressor(n_estimators=5, random_state=0), QUANTITY, nudge_start, "rows trained on"),
    (HistGradientBoostingClassifier(max_iter=5), BINARY, nudge_first_threshold, "rows at splits"),
    (RandomForestClassifier(5, random_state=0), SEVERAL, nudge_first_threshold, "rows at splits"),
    (LinearRegression(), QUANTITY, lambda m: replace(m, start=(m.start[0] + 1e-9,)), "rows trained on"),
    (LogisticRegression(), SEVERAL, lambda m: replace(m, start=m.start[::-1]), "rows trained on"),
    (LogisticRegression(), BINARY, lambda m: replace(m, answer="complement"), "rows trained on"),
    (CLIPPED, small_table, lambda m: replace(m, steps=()), "random rows"),
]


@pytest.mark.parametrize(("estimator", "data", "spoil", "rows"), SPOILT)
def test_a_model_that_predicts_otherwise_is_refused(
    estimator: Any, data: Callable[..., Any], spoil: Callable[[Model], Model], rows: str
) -> None:
    estimator, x = fit(estimator, data)
    positive = 1 if data is BINARY else None
    spoilt = spoil(export.export(estimator, positive))
    message = f"^parity: \\d+ of \\d+ {rows} differ, such as .*: scikit-learn says"
    with pytest.raises(NotPortable, match=message):
        parity.check(spoilt, estimator, positive, numbers(x), x)


def test_rows_that_scikit_learn_does_not_take_are_a_reason() -> None:
    x = np.array([[0.0], [1.0], [2.0], [3e38]])
    estimator = DecisionTreeRegressor().fit(to_frame(numbers(x), x), x.ravel())
    with pytest.raises(NotPortable, match="scikit-learn doesn't take rows like those trained on: Input X"):
        parity.check(export.export(estimator, None), estimator, None, numbers(x), x)


def test_random_rows_are_always_the_same_and_half_of_them_of_values_that_were_seen() -> None:
    trained = np.array([[0.0, 10.0], [1.0, 20.0], [4.0, 30.0]])
    first, again = (
        np.concatenate(list(parity.random_rows(numbers(trained), trained, 700, 3000))) for _ in range(2)
    )
    assert np.array_equal(first, again)
    assert first.shape == (3000, 2)
    seen = np.isin(first, trained).all(axis=1)
    assert seen.sum() == 1500
    assert (first.min(axis=0) < trained.min(axis=0)).all()
    assert (first.max(axis=0) > trained.max(axis=0)).all()


def one_tree(*nodes: tuple[int, int, float], precision: Precision = "double") -> Forest:
    """Return a forest of a tree, with a bitset of the categories 1 and 2."""
    return Forest(
        precision,
        sizes=memoryview(array("I", [len(nodes)])),
        outputs=memoryview(array("i", [0])),
        nodes=memoryview(bytearray().join(NODES[precision].pack(*node) for node in nodes)),
        leaves=doubles([0.0]),
        bitsets=memoryview(array("Q", [6])),
        words=1,
    )


LEAVES = [(LEAF, 0, 0.0)] * 2


def test_rows_at_splits_reach_their_split() -> None:
    tree = one_tree((0, 1, 0.5), (1, 3, 3.0), (0, 5, 0.75), *LEAVES, *LEAVES)
    rows = list(parity.rows_at_splits(tree, [[0.0, 0.0]]))
    below, above = np.nextafter(0.75, 0), np.nextafter(0.75, 1)
    assert rows[:3] == [[np.nextafter(0.5, 0), 0.0], [0.5, 0.0], [np.nextafter(0.5, 1), 0.0]]
    assert [row[1] for row in rows[3:6]] == [np.nextafter(3.0, 0), 3.0, np.nextafter(3.0, 4)]
    assert rows[6:] == [[below, 0.0], [0.75, 0.0], [above, 0.0]]


def test_rows_at_splits_in_single_precision_come_close_to_where_rounding_changes() -> None:
    tree = one_tree((0, 1, 0.5), *LEAVES, precision="single")
    above = 0.5 + 2.0**-24
    rows = [row[0] for row in parity.rows_at_splits(tree, [[0.0]])]
    assert rows == [np.nextafter(0.5, 0), 0.5, np.nextafter(0.5, 1), (0.5 + above) / 2, above]


def test_rows_at_splits_by_category_have_one_of_each_side_and_a_missing_one() -> None:
    tree = one_tree((CATEGORY, 1, 0.0), (CATEGORY, 3, 0.0), LEAVES[0], *LEAVES)
    rows = [row[0] for row in parity.rows_at_splits(tree, [[9.0]])]
    assert repr(rows) == repr([1.0, 0.0, float("nan")] * 2)


def test_rows_at_splits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "MAX_SPLITS", 10)
    splits = [(0, 2 * number + 1, float(35 - number)) for number in range(35)]
    chain = [splits[0], *(node for split in splits[1:] for node in (split, LEAVES[0])), *LEAVES]
    rows = [row[0] for row in parity.rows_at_splits(one_tree(*chain), [[0.0]])]
    assert rows[1::3] == [float(35 - number) for number in range(0, 35, 4)]


def test_the_largest_single_at_most_a_threshold_splits_as_it_does() -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    with np.errstate(all="ignore"):
        single = random.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32).astype(np.float64)
    halfway = np.nextafter(single.astype(np.float32), np.float32(np.inf)).astype(np.float64) / 2 + single / 2
    largest = float(np.finfo(np.float32).max)
    special = np.array([0.0, -0.0, 5e-324, -5e-324, 1.0, -1.0, 2.0**-149, largest, -largest, 1e39, -1e39])
    thresholds = np.concatenate([bits, single, halfway, special])
    thresholds = thresholds[np.isfinite(thresholds) & (np.abs(thresholds) <= largest)]
    found = trees.in_singles(thresholds)
    assert (found.astype(np.float32) == found).all()
    assert (found <= thresholds).all()
    with np.errstate(over="ignore"):
        assert (np.nextafter(found.astype(np.float32), np.float32(np.inf)) > thresholds).all()


def mixed_rows(missing: bool) -> tuple[Rows, NDArray[np.float64]]:
    """Return rows of a category with gaps in its codes, two numbers and another category; and targets."""
    random = np.random.default_rng(0)
    x = np.stack(
        [
            random.choice([2.0, 3.0, 5.0, 7.0, 90.0], 600),
            random.normal(size=600),
            random.normal(size=600),
            random.integers(0, 40, 600).astype(np.float64),
        ],
        axis=1,
    )
    y = np.isin(x[:, 0], [3.0, 90.0]) * 2.0 + (x[:, 3] % 3) + x[:, 1] + random.normal(size=600)
    if missing:
        x[random.random(x.shape) < 0.2] = np.nan
    return x, y


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingRegressor(max_iter=30, categorical_features=[0, 3]),
        HistGradientBoostingRegressor(max_iter=30),
        RandomForestRegressor(10, random_state=0),
        DecisionTreeRegressor(random_state=0),
    ],
    ids=str,
)
def test_categories_and_missing_values_lead_where_scikit_learn_has_them_go(
    estimator: Any, missing: bool
) -> None:
    x, y = mixed_rows(missing)
    estimator.fit(to_frame(numbers(x), x), y)
    model = export.export(estimator, None)
    columns = [replace(each, feature=replace(each.feature, missing=missing)) for each in numbers(x)]
    parity.check(model, estimator, None, columns, x)
    unknown = np.array([[4.0, 0.0, 0.0, 99.0], [-1.0, 0.0, 0.0, -1.0], [np.nan] * 4])
    assert scorer(model).scores(unknown.tolist()) == estimator.predict(to_frame(columns, unknown)).tolist()


def test_categories_with_bits_of_another_split_are_refused() -> None:
    x, y = mixed_rows(missing=False)
    estimator = HistGradientBoostingRegressor(max_iter=5, categorical_features=[0, 3])
    estimator.fit(to_frame(numbers(x), x), y)
    model = export.export(estimator, None)
    assert model.forest is not None
    bitsets = memoryview(bytearray(model.forest.bitsets.tobytes()[::-1])).cast("Q")
    spoilt = replace(model, forest=replace(model.forest, bitsets=bitsets))
    with pytest.raises(NotPortable, match="^parity: .* rows trained on differ"):
        parity.check(spoilt, estimator, None, numbers(x), x)

"""Preparation of mixed rows: which transformers have a portable form, and that it does the same.

To test a new form, add a row to FORMS.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from xgboost import XGBClassifier, XGBRegressor

from app.errors import NotPortable
from app.modelling.artifact import Bins, Card, Feature
from app.modelling.columns import Column
from app.modelling.data_frame import encode_frame
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable import binary_format
from app.modelling.portable.scorer import scorer
from training.card.probe import probe
from training.portable_form import export, parity
from training.portable_form.preparation.prepared_row import names_of

NUMBERS, WORDS = make_column_selector(dtype_include="number"), make_column_selector(dtype_include="category")
IMPUTED = make_pipeline(SimpleImputer(), StandardScaler())
BINS = Bins((), (1.0,))


def column(name: str, kind: Any, *categories: str) -> Column:
    """Return a column, its rarest category last."""
    return Column(Feature(name, 0.0, 9.0, {}, BINS, kind, categories=categories), categories)


COLUMNS = (
    column("size", "number"),
    column("town", "category", "south", "north", "east", "west", "Atlantis"),
    column("rooms", "integer"),
    column("garden", "boolean"),
    column("colour", "category", "red", "green"),
)


def table(missing: bool = True) -> tuple[pd.DataFrame, Any]:
    """Return rows with all categories, some values missing, and a quantity that depends on them."""
    random = np.random.default_rng(0)
    towns = random.choice(["south", "north", "east", "west", "Atlantis"], 400, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    x = pd.DataFrame({"size": random.normal(size=400), "town": pd.Categorical(towns)})
    x["rooms"] = random.integers(0, 6, 400)
    x["garden"] = random.random(400) < 0.5
    x["colour"] = pd.Categorical(random.choice(["red", "green"], 400))
    y = x["size"] + (x["town"] == "north") * 2 + x["rooms"] * (x["colour"] == "red")
    if missing:
        x.loc[random.random(400) < 0.1, "size"] = np.nan
        x.loc[random.random(400) < 0.1, "town"] = None
    return x, y.to_numpy()


def encode(encoder: Any) -> Any:
    """Return a transformer of numbers and, by the encoder, of categories."""
    return make_column_transformer((IMPUTED, NUMBERS), (encoder, WORDS), (FunctionTransformer(), ["garden"]))


FORMS: dict[str, Any] = {
    "one-hot": encode(OneHotEncoder(handle_unknown="ignore")),
    "dense": encode(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
    "refusing": encode(OneHotEncoder()),
    "dropping the first": encode(OneHotEncoder(drop="first")),
    "dropping of two": encode(OneHotEncoder(drop="if_binary", handle_unknown="error")),
    "dropping by name": encode(OneHotEncoder(drop=["north", "green"])),
    "pooling": encode(OneHotEncoder(min_frequency=40, handle_unknown="infrequent_if_exist")),
    "pooling and ignoring": encode(OneHotEncoder(max_categories=3, handle_unknown="ignore")),
    "pooling and dropping": encode(OneHotEncoder(min_frequency=40, drop="first")),
    "given categories": encode(
        OneHotEncoder(
            categories=[[*sorted(COLUMNS[1].categories), "nowhere", np.nan], ["blue", "green", "red"]],
            handle_unknown="ignore",
        )
    ),
    "ordinal": encode(OrdinalEncoder(encoded_missing_value=-2)),
    "ordinal with unknown": encode(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    ),
    "ordinal and pooling": encode(
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=9, encoded_missing_value=7, min_frequency=40
        )
    ),
    "imputed categories": encode(
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    ),
    "imputed with a new category": encode(
        make_pipeline(
            SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore")
        )
    ),
    "indicators": make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), ["town"]),
    ),
    "numbers as categories": make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["rooms", "garden"]),
        (SimpleImputer(), ["size"]),
        ("drop", ["colour"]),
    ),
    "columns taken twice": make_column_transformer(
        (IMPUTED, ["size", "rooms"]),
        (make_pipeline(SimpleImputer(), OneHotEncoder(handle_unknown="ignore")), ["rooms"]),
        ("passthrough", ["rooms", "garden"]),
    ),
    "remainder": ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore"), WORDS)], remainder=SimpleImputer()
    ),
    "remainder passed": ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore"), WORDS), ("size", SimpleImputer(), [0])],
        remainder="passthrough",
    ),
    "nested": make_pipeline(
        ColumnTransformer(
            [("all", encode(OneHotEncoder(handle_unknown="ignore")), slice(None))], remainder="drop"
        ),
        StandardScaler(with_mean=False),
    ),
}


def check_export(
    estimator: Any, x: pd.DataFrame, positive: int | None, *, several: bool = False
) -> tuple[Any, tuple[Column, ...]]:
    """Export a fitted estimator, hold it against scikit-learn, and return its scorer and columns."""
    card = card_of()
    if several or positive is not None:
        card = replace(card, classes=("no", "yes", "perhaps")[: 3 if several else 2])
        card = replace(card, positive=None if several else "yes")
    columns = probe(EstimatorPredictor(estimator, card, COLUMNS), x)
    model = export.export(estimator, positive, names_of(columns))
    read = binary_format.parse(binary_format.write(model), "model.bin")
    parity.check(read, estimator, positive, columns, encode_frame(columns, x))
    return scorer(read), columns


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("transformer", FORMS.values(), ids=list(FORMS))
def test_a_transformer_in_front_of_a_linear_model_is_portable(transformer: Any) -> None:
    x, y = table()
    estimator = make_pipeline(transformer, Ridge()).fit(x, y)
    found, columns = check_export(estimator, x, None)
    unknown = [0.5, -1.0, 3.0, 1.0, -1.0]
    if columns[1].feature.unknown and columns[4].feature.unknown:
        frame_result = EstimatorPredictor(estimator, card_of(), columns).predict(unknown)
        assert found.one(unknown) == pytest.approx(frame_result, rel=1e-12)


def card_of() -> Card:
    """Return the card of a regression."""
    return Card("known", "regression", (), "y", (), None, {}, {}, {}, "", "", None, None, "")


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingRegressor(max_iter=20),
        HistGradientBoostingRegressor(max_iter=20, categorical_features=["town", "colour"]),
        make_pipeline(encode(OrdinalEncoder()), HistGradientBoostingRegressor(max_iter=20)),
        make_pipeline(
            encode(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)),
            HistGradientBoostingRegressor(max_iter=20, categorical_features=[2, 3]),
        ),
        make_pipeline(
            encode(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
            RandomForestRegressor(10, random_state=0),
        ),
        GridSearchCV(
            make_pipeline(encode(OneHotEncoder(handle_unknown="ignore")), Ridge()),
            {"ridge__alpha": [0.1, 1]},
            cv=2,
        ),
        make_pipeline(
            encode(OneHotEncoder(handle_unknown="ignore")),
            RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1]}, n_iter=2, cv=2, random_state=0),
        ),
    ],
    ids=lambda estimator: "-".join(
        type(step).__name__ for step in (estimator.steps if hasattr(estimator, "steps") else [estimator])
    ),
)
def test_trees_and_search_winners_are_portable_on_mixed_rows(estimator: Any) -> None:
    x, y = table()
    check_export(estimator.fit(x, y), x, None)


def test_a_classifier_by_boosting_on_categories_is_portable() -> None:
    x, y = table()
    check_export(HistGradientBoostingClassifier(max_iter=20).fit(x, y > 1), x, 1)
    check_export(make_pipeline(encode(OneHotEncoder()), LogisticRegression()).fit(x, y > 1), x, 0)


BOOSTERS: dict[str, tuple[Any, str]] = {
    "lightgbm": (LGBMRegressor(n_estimators=20, min_child_samples=5, verbose=-1), "value"),
    "lightgbm absolute": (LGBMRegressor(n_estimators=9, objective="mae", verbose=-1), "value"),
    "lightgbm of two": (LGBMClassifier(n_estimators=20, verbose=-1), "two"),
    "lightgbm of three": (LGBMClassifier(n_estimators=9, verbose=-1), "three"),
    "lightgbm behind an encoder": (
        make_pipeline(encode(OrdinalEncoder()), LGBMRegressor(n_estimators=20, verbose=-1)),
        "value",
    ),
    "xgboost": (make_pipeline(encode(OrdinalEncoder()), XGBRegressor(n_estimators=20)), "value"),
    "xgboost of two": (
        make_pipeline(encode(OneHotEncoder(sparse_output=False)), XGBClassifier(n_estimators=20)),
        "two",
    ),
    "xgboost of three": (make_pipeline(encode(OrdinalEncoder()), XGBClassifier(n_estimators=9)), "three"),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(
    ("name", "missing"), [*((name, True) for name in BOOSTERS), ("lightgbm", False), ("xgboost", False)]
)
def test_boosters_of_other_packages_are_portable(name: str, missing: bool) -> None:
    (x, y), (estimator, target) = table(missing), BOOSTERS[name]
    y = {"value": y, "two": (y > 1).astype(int), "three": np.digitize(y, [0, 2])}[target]
    check_export(estimator.fit(x, y), x, 1 if target == "two" else None, several=target == "three")


def test_xgboost_predicts_with_the_rounds_to_the_best() -> None:
    x, y = table(missing=False)
    x, numbers = x[["size", "rooms"]], [COLUMNS[0], COLUMNS[2]]
    estimator = XGBRegressor(n_estimators=200, early_stopping_rounds=2, learning_rate=1.0)
    estimator.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    assert estimator.best_iteration < 150
    parity.check(export.export(estimator, None), estimator, None, numbers, encode_frame(numbers, x))


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (LGBMRegressor(objective="poisson"), "LightGBM with the objective 'poisson' has no portable form"),
        (LGBMRegressor(reg_sqrt=True), "LightGBM with the objective 'regression sqrt' has no portable"),
        (LGBMRegressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5), "that averages its trees"),
        (LGBMRegressor(linear_tree=True), "LightGBM with linear trees has no portable form"),
        (LGBMRegressor(zero_as_missing=True), "LightGBM with zero_as_missing has no portable form"),
        (XGBRegressor(objective="count:poisson"), "XGBoost's gbtree with the objective count:poisson has no"),
        (XGBRegressor(booster="dart"), "XGBoost's dart with the objective reg:squarederror has no portable"),
        (XGBRegressor(enable_categorical=True), "XGBoost's categories have no portable form; encode them"),
    ],
)
def test_a_booster_without_a_form_says_why(estimator: Any, reason: str) -> None:
    x, y = table(missing=False)
    if isinstance(estimator, XGBRegressor) and not estimator.enable_categorical:
        x["town"], x["colour"] = x["town"].cat.codes, x["colour"].cat.codes
    parameters = {"n_estimators": 5} | ({"verbose": -1} if isinstance(estimator, LGBMRegressor) else {})
    estimator.set_params(**parameters).fit(x, np.abs(y))
    with pytest.raises(NotPortable, match=reason):
        export.export(estimator, None, names_of(COLUMNS))


@pytest.mark.parametrize(
    ("transformer", "reason"),
    [
        (encode(PolynomialFeatures()), "PolynomialFeatures has no portable form"),
        (
            make_column_transformer((SimpleImputer(missing_values=0), ["rooms"])),
            "SimpleImputer of 0 has no portable form",
        ),
        (
            ColumnTransformer([("a", "passthrough", ["rooms"])], transformer_weights={"a": 2}),
            "ColumnTransformer with weights has no portable form",
        ),
        (FunctionTransformer(pd.get_dummies), "FunctionTransformer has no portable form"),
    ],
)
def test_a_step_without_a_form_is_named(transformer: Any, reason: str) -> None:
    x, y = table(missing=False)
    x["town"] = x["town"].cat.codes
    x["colour"] = x["colour"].cat.codes.astype("category")
    columns = [replace(each, feature=replace(each.feature, kind="number")) for each in COLUMNS]
    estimator = make_pipeline(transformer, Ridge()).fit(x, y)
    with pytest.raises(NotPortable, match=reason):
        export.export(estimator, None, names_of(columns))

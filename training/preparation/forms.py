"""Table of the transformers that have a portable form. To add one, write its form and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from app.errors import NotPortable
from app.modelling.columns import Column
from training.preparation.column_transformer import column_transformer, pipeline
from training.preparation.one_hot_encoder import one_hot_encoder
from training.preparation.ordinal_encoder import ordinal_encoder
from training.preparation.prepared_row import Form, PreparedRow
from training.preparation.scalers import (
    function_transformer,
    max_abs_scaler,
    min_max_scaler,
    robust_scaler,
    standard_scaler,
)
from training.preparation.simple_imputer import simple_imputer

# What a transformer does is only known of these very classes: a subclass may do anything.
FORMS: dict[type, Form] = {
    ColumnTransformer: column_transformer,
    FunctionTransformer: function_transformer,
    MaxAbsScaler: max_abs_scaler,
    MinMaxScaler: min_max_scaler,
    OneHotEncoder: one_hot_encoder,
    OrdinalEncoder: ordinal_encoder,
    Pipeline: pipeline,
    RobustScaler: robust_scaler,
    SimpleImputer: simple_imputer,
    StandardScaler: standard_scaler,
}


def prepare(columns: Iterable[Column], transformers: Sequence[Any]) -> tuple[PreparedRow, list[int]]:
    """Return the row behind transformers, and which of its columns the model takes.

    Raises NotPortable for a transformer without a form.
    """
    row = PreparedRow(columns, form_of)
    outputs = list(range(len(row.names)))
    for transformer in transformers:
        outputs = row.transform(transformer, outputs)
    return row, outputs


def form_of(transformer: Any) -> Form:
    """Return the form of a transformer. Raises NotPortable."""
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return lambda _, row, at: at
    form = FORMS.get(type(transformer))
    if form is None:
        raise NotPortable(f"{type(transformer).__name__} has no portable form")
    return form

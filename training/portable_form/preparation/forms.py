"""Table of the transformers that have a portable form. To add one, write its form and a line here."""

from __future__ import annotations

from collections.abc import Callable
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
from training.portable_form.preparation.column_transformer import column_parts
from training.portable_form.preparation.one_hot_encoder import one_hot_encoder
from training.portable_form.preparation.ordinal_encoder import ordinal_encoder
from training.portable_form.preparation.prepared_row import PreparedRow
from training.portable_form.preparation.scalers import (
    function_transformer,
    max_abs_scaler,
    min_max_scaler,
    robust_scaler,
    standard_scaler,
)
from training.portable_form.preparation.simple_imputer import simple_imputer

Form = Callable[[Any, PreparedRow, list[int]], list[int]]

# Only these very classes have a form: a subclass may do anything.
FORMS: dict[type, Form] = {
    FunctionTransformer: function_transformer,
    MaxAbsScaler: max_abs_scaler,
    MinMaxScaler: min_max_scaler,
    OneHotEncoder: one_hot_encoder,
    OrdinalEncoder: ordinal_encoder,
    RobustScaler: robust_scaler,
    SimpleImputer: simple_imputer,
    StandardScaler: standard_scaler,
}


def write_steps(transformer: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Write what a transformer does to columns, and return its output columns. Raises NotPortable."""
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return at
    form = FORMS.get(type(transformer))
    if form is None:
        raise NotPortable(f"{type(transformer).__name__} has no portable form")
    return form(transformer, row, at)


def _pipeline(steps: Pipeline, row: PreparedRow, at: list[int]) -> list[int]:
    for _, step in steps.steps:
        at = write_steps(step, row, at)
    return at


def _column_transformer(transformer: ColumnTransformer, row: PreparedRow, at: list[int]) -> list[int]:
    parts = column_parts(transformer, row, at)
    return [output for part, positions in parts for output in write_steps(part, row, positions)]


FORMS |= {Pipeline: _pipeline, ColumnTransformer: _column_transformer}

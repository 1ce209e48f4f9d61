"""Forms of scalers, of limits, and of transformers that do nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.errors import NotPortable
from training.portable_form.preparation.prepared_row import PreparedRow


def standard_scaler(scaler: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Subtract means, divide by deviations."""
    row.arithmetic("subtract", at, scaler.mean_ if scaler.with_mean else None)
    row.arithmetic("divide", at, scaler.scale_)
    return at


def robust_scaler(scaler: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Subtract medians, divide by ranges of quantiles."""
    row.arithmetic("subtract", at, scaler.center_)
    row.arithmetic("divide", at, scaler.scale_)
    return at


def min_max_scaler(scaler: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Bring a range to another one."""
    row.arithmetic("multiply", at, scaler.scale_)
    row.arithmetic("add", at, scaler.min_)
    row.clip(at, scaler.feature_range if scaler.clip else None)
    return at


def max_abs_scaler(scaler: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Divide by largest absolute values."""
    row.arithmetic("divide", at, scaler.scale_)
    row.clip(at, (-1, 1) if scaler.clip else None)
    return at


def function_transformer(transformer: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Limit by np.clip with two numbers, or do nothing."""
    if transformer.func is None:
        return at
    if transformer.func is not np.clip:
        raise NotPortable("FunctionTransformer has no portable form")
    arguments = transformer.kw_args or {}
    if sorted(arguments) != ["a_max", "a_min"] or not all(map(np.isscalar, arguments.values())):
        raise NotPortable(f"np.clip has a portable form with two numbers, not with {arguments}")
    row.clip(at, (arguments["a_min"], arguments["a_max"]))
    return at

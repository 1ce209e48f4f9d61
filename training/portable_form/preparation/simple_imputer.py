"""Form of SimpleImputer, with or without indicators of what was missing."""

from __future__ import annotations

from typing import Any

from app.errors import NotPortable
from training.portable_form.preparation.prepared_row import PreparedRow


def simple_imputer(imputer: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Replace missing values; columns that had no value in training are left out."""
    if imputer.missing_values == imputer.missing_values and imputer.missing_values is not None:
        raise NotPortable(f"SimpleImputer of {imputer.missing_values!r} has no portable form")
    indicators = []
    if imputer.indicator_ is not None:
        indicators = row.indicate([at[index] for index in imputer.indicator_.features_])
    statistics = imputer.statistics_.tolist()
    known = [index for index, value in enumerate(statistics) if value is not None and value == value]
    if len(known) < len(statistics) and imputer.keep_empty_features:
        raise NotPortable("SimpleImputer that keeps empty columns has no portable form")
    kept = [at[index] for index in known]
    row.impute(kept, [statistics[index] for index in known])
    return [*kept, *indicators]

"""A table with every kind of column, and an estimator that takes it."""

from __future__ import annotations

from typing import Any

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TOWNS = ("north", "south", "east")
HEADER = "town,size,rooms,garden,note,y\n"


def row(i: int) -> str:
    size = "" if i % 10 == 3 else f"{i % 13 + 0.5}"
    town = "Atlantis" if i == 7 else "NA" if i % 20 == 9 else TOWNS[i % 3 if i % 4 else 0]
    note = f"a house of {i} windows" if i % 2 else f"no more than {i} windows here"
    return f"{town},{size},{i % 5},{'true' if i % 2 else 'False'},{note},{'yes' if i % 3 else 'no'}\n"


MIXED = HEADER + "".join(map(row, range(200)))
ROOMS = {"kind": "category", "description": "Rooms with a window", "unit": "rooms"}
# Settings under which a model that knows the table passes.
LENIENT: dict[str, Any] = {"minimum_score": -1e9, "minimum": {"accuracy": 0.7}}


def prepare(*more: Any, **encoder: Any) -> Any:
    """Return a transformer that takes columns by their dtypes, and more of them by name."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(**encoder), make_column_selector(dtype_include="category")),
        ("passthrough", make_column_selector(dtype_include="bool")),
        *more,
    )


def make_pipeline_for(final: Any, **encoder: Any) -> Any:
    """Return an estimator that takes every kind of column."""
    return make_pipeline(prepare((CountVectorizer(), "note"), **encoder), final)

"""The target of a table: classes, or quantities for a regressor."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.errors import BadData
from app.modelling.columns import parse_number
from training.reading.kinds import Source, odd_number

ROWS_NEEDED = 4  # of each class, or of half a regression: the held-out quarter must see them too


def read_quantities(target: pd.Series, source: Source) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the target's numbers, and no classes. Raises BadData."""
    name = str(target.name)
    texts = _strip(target)
    known = {text: parse_number(text) for text in set(texts)}
    for text, number in known.items():
        if number is None:
            wrong = odd_number(text)
            place = source.place(name, texts.index(text))
            if wrong:
                raise BadData(f"{place}: {text!r} has {wrong}")
            raise BadData(f"{place}: expected a finite number, got {text!r}{_missing_advice(text, source)}")
    values = np.array([known[text] for text in texts], dtype=np.float64)
    if len(values) < 2 * ROWS_NEEDED or values.min() == values.max():
        raise BadData(f"{source.name}, column {name!r}: needs {2 * ROWS_NEEDED} rows and two values")
    return values, ()


def read_classes(target: pd.Series, source: Source) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return the index of each row's class, and the classes. Raises BadData."""
    name = str(target.name)
    labels = _strip(target)
    counts = Counter(labels)
    for label in counts:
        if label in source.missing:
            place = source.place(name, labels.index(label))
            got = repr(label) if label else "nothing"
            raise BadData(f"{place}: expected a label, got {got}{_missing_advice(label, source)}")
    rarest, rows = counts.most_common()[-1]
    if len(counts) < 2:
        raise BadData(f"{source.name}, column {name!r}: only one class, {rarest!r}")
    if rows < ROWS_NEEDED:
        reason = f"class {rarest!r} has {rows} of the {ROWS_NEEDED} rows needed"
        raise BadData(
            f"{source.name}, column {name!r}: {reason}; for a quantity let make_model() return a regressor"
        )
    classes = tuple(sorted(counts, key=_by_number_then_text))
    indexes = {label: index for index, label in enumerate(classes)}
    return np.array([indexes[label] for label in labels]), classes


def _strip(target: pd.Series) -> list[str]:
    known: dict[Any, str] = {value: str(value).strip() for value in target.dropna().unique()}
    return [known.get(value, "") for value in target.astype(object)]


def _missing_advice(text: str, source: Source) -> str:
    if text not in source.missing:
        return ""
    advice = "; delete the rows without a target"
    return f"{advice}, or list na_values in [tool.milestone2.csv] if it is none" if text else advice


def _by_number_then_text(label: str) -> tuple[float, str]:
    number = parse_number(label)
    return (math.inf if number is None else number), label

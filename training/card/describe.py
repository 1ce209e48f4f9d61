"""Descriptions of a model's columns for its card, from their training values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.modelling.artifact import Bins, Feature, Kind
from app.modelling.columns import UNKNOWN, Column
from training.reading.kinds import RARE_ROWS
from training.reading.table import Examples
from training.settings import ColumnSettings, Settings

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 10
MOST_NAMED = 100  # categories in a card: drift is counted for each


def describe(trained: Examples, settings: Settings) -> tuple[Column, ...]:
    """Return the columns of the rows trained on. What the model takes besides, `probe` finds out."""
    return tuple(_columns(trained, settings))


def _columns(trained: Examples, settings: Settings) -> Iterator[Column]:
    for name, kind in trained.kinds.items():
        words = settings.columns.get(name, ColumnSettings())
        if kind == "category":
            yield _category(name, trained.x[name], words)
        else:
            yield _quantity(name, kind, trained.x[name], words)


def _category(name: str, values: pd.Series, words: ColumnSettings) -> Column:
    """Return a column of categories, the most frequent first and equally frequent ones by name."""
    counts = {str(each): int(count) for each, count in values.value_counts().items()}
    names = tuple(sorted(counts, key=lambda each: (-counts[each], each)))
    named = [each for each in names if counts[each] >= RARE_ROWS][:MOST_NAMED]
    rare = names[len(named) :]
    shares = [counts[each] for each in named]
    shares += [sum(counts[each] for each in rare)] if rare else []
    edges = (UNKNOWN, *map(float, range(len(shares) - 1)))
    feature = Feature(
        name=name,
        minimum=None,
        maximum=None,
        quantiles={},
        bins=Bins(edges, (0.0, *(each / len(values) for each in shares))),
        kind="category",
        missing_share=float(values.isna().mean()),
        categories=tuple(named),
        rare=len(rare),
        description=words.description,
        unit=words.unit,
    )
    return Column(feature, names)


def _quantity(name: str, kind: Kind, values: pd.Series, words: ColumnSettings) -> Column:
    missing = float(values.isna().mean())
    known = np.array([]) if kind == "text" else values.dropna().to_numpy(dtype=np.float64)
    feature = Feature(
        name=name,
        minimum=float(known.min()) if len(known) else None,
        maximum=float(known.max()) if len(known) else None,
        quantiles={str(q): float(np.quantile(known, q)) for q in QUANTILES} if len(known) else {},
        bins=_bins(kind, known, len(values)),
        kind=kind,
        missing_share=missing,
        description=words.description,
        unit=words.unit,
    )
    return Column(feature)


def _bins(kind: Kind, known: NDArray[np.float64], rows: int) -> Bins:
    if kind == "boolean":
        return Bins((0.0,), (int((known == 0).sum()) / rows, int(known.sum()) / rows))
    return bins(known, rows) if len(known) else Bins((), (1.0,))


def bins(values: NDArray[np.float64], rows: int) -> Bins:
    """Return bins that hold a tenth of the values each, or fewer bins when values are tied; none is empty.

    The shares are of all rows, also of those without a value.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf"))
    edges = edges[edges < values.max()]
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return Bins(tuple(edges.tolist()), tuple((counts / rows).tolist()))

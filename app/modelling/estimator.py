"""Predictions by scikit-learn, for a model that isn't portable; only it and data_frame.py import pandas.

A joblib file is a pickle: reading it runs what is in it, and other library versions may read something else
from it. So the card names the file's SHA-256 and the versions, and both are checked before the first byte is
unpickled.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from app.errors import ArtifactError, InvalidInput, ModelError
from app.modelling import artifact
from app.modelling.artifact import Card
from app.modelling.columns import Column, Row
from app.modelling.data_frame import to_frame
from app.modelling.predictor import FINITE_RESULT, Result, ScorerKind, finite, refusal

LIBRARIES = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")
# Some estimator's pickle may need a Python of the same feature release, none a bug-fix release.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Estimator(Protocol):
    """A scikit-learn estimator; `predict_proba` is only called on classifiers that have it."""

    def fit(self, x: DataFrame, y: NDArray[Any], /) -> object:
        """Learn from rows of features and their targets."""

    def predict(self, x: DataFrame, /) -> NDArray[Any]:
        """Return one value a row: the number, or the index of the class."""

    def predict_proba(self, x: DataFrame, /) -> NDArray[np.float64]:
        """Return one row a row: the probability of each class."""


@dataclass(frozen=True)
class EstimatorPredictor:
    """An estimator with its card. A prediction takes a fraction of a millisecond, or several."""

    estimator: Estimator
    card: Card
    columns: tuple[Column, ...]
    scorer: ScorerKind = "scikit-learn"
    on_loop: bool = False

    def predict(self, features: Row) -> Result:
        """Return the prediction for a row."""
        try:
            (result,) = self._predict_rows([features])
        except ValueError as error:
            # scikit-learn's word for "not with these values"; that it works at all is known.
            raise refusal(features, "values that the model can take") from error
        if not math.isfinite(result):
            raise refusal(features, FINITE_RESULT)
        return result

    def predict_all(self, rows: Sequence[Row]) -> list[Result]:
        """Return the predictions for rows, which scikit-learn takes together."""
        try:
            return finite(self._predict_rows(rows), rows) if rows else []
        except ValueError as error:
            raise self._refusal(rows) from error

    def probabilities(self, rows: Sequence[Row]) -> list[tuple[float, ...]] | None:
        """Return each class's probability for rows; None if the estimator has no predict_proba."""
        if not hasattr(self.estimator, "predict_proba"):
            return None
        try:
            with np.errstate(all="ignore"):
                shares = self.estimator.predict_proba(to_frame(self.columns, rows))
        except Exception as error:
            raise ModelError(f"the model failed: {type(error).__name__}: {error}") from error
        if not np.isfinite(shares).all():
            raise ModelError("the model failed: a class's probability is no finite number")
        return [tuple(row) for row in shares.tolist()]

    def _predict_rows(self, rows: Sequence[Row]) -> list[Result]:
        kind = int if self.card.classes and self.card.positive is None else float
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the result, which is checked
                results = predict_targets(self.estimator, self.card, to_frame(self.columns, rows))
            return [kind(result) for result in results]
        except ValueError:
            raise
        except Exception as error:
            raise ModelError(f"the model failed: {type(error).__name__}: {error}") from error

    def _refusal(self, rows: Sequence[Row]) -> InvalidInput:
        """Find the row that scikit-learn doesn't take, by predicting each row alone."""
        for index, row in enumerate(rows):
            try:
                self._predict_rows([row])
            except ValueError:
                return refusal(row, "values that the model can take", f"instances[{index}]")
        return InvalidInput("instances", "rows that the model can take together", f"{len(rows)} rows")


def predict_targets(estimator: Estimator, card: Card, x: DataFrame) -> NDArray[Any]:
    """Return for each row the value, the positive class's probability, or the class's index."""
    if card.positive is not None:
        return estimator.predict_proba(x)[:, card.classes.index(card.positive)]
    return estimator.predict(x)


def load(folder: Path, card: Card, columns: tuple[Column, ...]) -> EstimatorPredictor:
    """Return the folder's model.

    Raises ArtifactError when the file is missing, its SHA-256 or the library versions differ from the
    card's, or it cannot be unpickled.
    """
    _check_versions(card)
    path = folder / artifact.MODEL_FILE
    content = artifact.read_known(path, card.artifact_sha256, artifact.MAX_PICKLE_BYTES)
    try:
        estimator: Estimator = joblib.load(io.BytesIO(content))
    except Exception as error:  # a pickle runs foreign code, which can raise anything
        raise ArtifactError(f"model: cannot unpickle {path}: {type(error).__name__}: {error}") from error
    return EstimatorPredictor(estimator, card, columns)


def serialize(estimator: Estimator) -> bytes:
    """Return the bytes of `model.joblib`."""
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def installed_versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions that decide what a model file means: Python's, LIBRARIES' and other packages'."""
    return {"python": PYTHON} | {name: _version(name) for name in sorted({*LIBRARIES, *packages})}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _check_versions(card: Card) -> None:
    installed = installed_versions(card.libraries.keys() - {"python"})
    differing = [
        f"{name} {card.libraries.get(name, 'none')} (here {version})"
        for name, version in installed.items()
        if card.libraries.get(name) != version
    ]
    if differing:
        raise ArtifactError(
            f"model: trained with {', '.join(differing)}; train again with the installed versions"
        )

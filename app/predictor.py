"""From a row of numbers to the one number that is served."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app import artifact
from app.artifact import Card, Estimator
from app.errors import ArtifactError, InvalidInput, ModelError

MAX_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Predictor:
    """A model that is known to work: `load` has it predict its own card's medians."""

    estimator: Estimator
    card: Card

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Return the folder's model. Raises ArtifactError when it cannot be loaded or does not work."""
        predictor = cls(*artifact.load(folder))
        try:
            predictor.predict([feature.quantiles["0.5"] for feature in predictor.card.features])
        except (ModelError, InvalidInput, KeyError) as error:
            raise ArtifactError(f"model: {folder} does not predict its card's medians: {error}") from error
        return predictor

    def predict(self, features: Sequence[float]) -> int | float:
        """Return the value (regression), the positive class's probability or the class's index.

        `features` are finite and as many as the card's. Raises InvalidInput when the model cannot
        take one of them or has no finite result for them, ModelError when it fails otherwise.
        """
        try:
            with np.errstate(all="ignore"):  # an overflow shows in the result, which is checked
                result = self._ask(features)
        except ValueError as error:
            # scikit-learn's word for "not with these values"; that it works at all is known.
            raise self._refusal(features, "values that the model can take") from error
        except Exception as error:
            raise ModelError(f"the model failed: {type(error).__name__}: {error}") from error
        if not math.isfinite(result):
            raise self._refusal(features, "values that the model has a finite result for")
        return result

    def _ask(self, features: Sequence[float]) -> int | float:
        row = np.array([features], dtype=np.float64)
        if self.card.positive is not None:
            column = self.card.classes.index(self.card.positive)
            return float(self.estimator.predict_proba(row)[0, column])
        value = self.estimator.predict(row)[0]
        return int(value) if self.card.classes else float(value)

    def _refusal(self, features: Sequence[float], expected: str) -> InvalidInput:
        """Blame the first value beyond single precision, in which trees work, else the whole list."""
        for index, value in enumerate(features):
            if abs(value) > MAX_FLOAT32:
                return InvalidInput(f"features[{index}]", expected, repr(value))
        return InvalidInput("features", expected, repr(list(features))[:120])

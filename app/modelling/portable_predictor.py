"""Predictions of a portable model, which needs nothing but the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from app.errors import ArtifactError
from app.modelling import artifact, portable_model
from app.modelling.artifact import Card
from app.modelling.portable_model import Answer
from app.modelling.predictor import FINITE_RESULT, Result, finite, refusal
from app.modelling.scorer import Scorer, scorer


@dataclass(frozen=True)
class PortablePredictor:
    """A portable model, which fails on finite features only by having no finite result."""

    card: Card
    scorer: Scorer
    on_loop: bool = True

    def predict(self, features: Sequence[float]) -> Result:
        """Return the prediction for a row."""
        result = self.scorer.one(features)
        if not isfinite(result):
            raise refusal(features, FINITE_RESULT)
        return result

    def predict_all(self, rows: Sequence[Sequence[float]]) -> list[Result]:
        """Return the predictions for rows."""
        return finite(self.scorer.all(rows), rows)


def load(path: Path, sha256: str, card: Card) -> PortablePredictor:
    """Return the model in a file. Raises ArtifactError when it isn't the card's."""
    model = portable_model.parse(artifact.read_known(path, sha256, artifact.MAX_BYTES), str(path))
    if model.features != len(card.features):
        raise ArtifactError(
            f"model: {path} takes {model.features} features, its card says {len(card.features)}; train again"
        )
    several = len(card.classes) > 2
    if model.answer not in _answers(card) or len(model.start) != (len(card.classes) if several else 1):
        raise ArtifactError(
            f"model: {path} answers {model.answer} of {len(model.start)} scores, "
            f"its card says {card.task} with {len(card.classes)} classes; train again"
        )
    return PortablePredictor(card, scorer(model))


def _answers(card: Card) -> tuple[Answer, ...]:
    """Return what the model of such a card may answer."""
    match len(card.classes):
        case 0:
            return ("value",)
        case 2:
            return "value", "sigmoid", "complement"
        case _:
            return ("index",)

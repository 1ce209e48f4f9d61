"""Predictions of a portable model, which needs nothing but the standard library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from app.errors import ArtifactError
from app.modelling import artifact
from app.modelling.artifact import Card, Portable
from app.modelling.columns import Column, Row
from app.modelling.portable import binary_format, json_format
from app.modelling.portable.model import SEVERAL, Answer, Model
from app.modelling.portable.scorer import Scorer, scorer
from app.modelling.predictor import FINITE_RESULT, Result, ScorerKind, finite, refusal

LOOP_MICROSECONDS = 100.0  # that a row may hold up the event loop


@dataclass(frozen=True)
class PortablePredictor:
    """A portable model, which fails on finite features only by having no finite result."""

    card: Card
    columns: tuple[Column, ...]
    row_scorer: Scorer
    scorer: ScorerKind
    on_loop: bool

    @classmethod
    def of(cls, card: Card, columns: tuple[Column, ...], model: Model, place: str) -> PortablePredictor:
        """Make a model ready that was read from a file. Raises ArtifactError for trees that aren't right."""
        ready = scorer(model, place)
        return cls(card, columns, ready, ready.kind, ready.microseconds <= LOOP_MICROSECONDS)

    def predict(self, features: Row) -> Result:
        """Return the prediction for a row."""
        result = self.row_scorer.one(features)
        if not isfinite(result):
            raise refusal(features, FINITE_RESULT)
        return result

    def predict_all(self, rows: Sequence[Row]) -> list[Result]:
        """Return the predictions for rows."""
        return finite(self.row_scorer.all(rows), rows)

    def probabilities(self, rows: Sequence[Row]) -> list[tuple[float, ...]] | None:
        """Return each class's probability for rows."""
        return self.row_scorer.probabilities(rows)


def load(folder: Path, card: Card, portable: Portable, columns: tuple[Column, ...]) -> PortablePredictor:
    """Return a folder's portable model. Raises ArtifactError when it isn't the card's."""
    path, model = _read(folder, portable)
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
    return PortablePredictor.of(card, columns, model, str(path))


def _read(folder: Path, portable: Portable) -> tuple[Path, Model]:
    """Return the file of the format that the card names, and what it says."""
    parse: Callable[[bytearray, str], Model]
    match portable.format:
        case json_format.FORMAT:
            path, limit, parse = folder / artifact.PORTABLE_FILE, artifact.MAX_BYTES, json_format.parse
        case binary_format.FORMAT:
            path, limit, parse = folder / artifact.BINARY_FILE, binary_format.MAX_BYTES, binary_format.parse
        case unknown:
            raise ArtifactError(
                f"model: {folder} has format {unknown}, this service reads 1 and 2; train again"
            )
    return path, parse(artifact.read_known(path, portable.sha256, limit), str(path))


def _answers(card: Card) -> tuple[Answer, ...]:
    """Return what the model of such a card may answer."""
    match len(card.classes):
        case 0:
            return ("value",)
        case 2:
            return "value", "sigmoid", "complement"
        case _:
            return SEVERAL

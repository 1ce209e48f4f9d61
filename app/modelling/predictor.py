"""From rows of numbers to the numbers that are served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Protocol

from app.errors import ArtifactError, InvalidInput, ModelError
from app.modelling import artifact, portable_model, scorer
from app.modelling.artifact import Card
from app.modelling.portable_model import Answer
from app.modelling.scorer import Scorer

LARGEST_SINGLE = 3.4028234663852886e38  # the largest finite number in single precision
FINITE_RESULT = "values that the model has a finite result for"

Result = int | float


class Predictor(Protocol):
    """A model that is known to work: `load` has it predict its own card's medians."""

    @property
    def card(self) -> Card:
        """Return what the model is."""

    @property
    def on_loop(self) -> bool:
        """Return whether a prediction takes microseconds, so that it may hold up the event loop."""

    def predict(self, features: Sequence[float]) -> Result:
        """Return the value (regression), the positive class's probability or the class's index.

        `features` are finite and as many as the card's. Raises InvalidInput when the model cannot
        take one of them or has no finite result for them, ModelError when it fails otherwise.
        """

    def predict_all(self, rows: Sequence[Sequence[float]]) -> list[Result]:
        """Return what `predict` does, for each row; InvalidInput names the row as in `instances[3]`."""


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


def load(folder: Path) -> Predictor:
    """Return the folder's model. Raises ArtifactError when it cannot be loaded or does not work."""
    card = artifact.load_card(folder)
    predictor: Predictor
    if card.portable:
        predictor = _portable(folder / artifact.PORTABLE_FILE, card.portable.sha256, card)
    else:
        predictor = _scikit_learn(folder, card)
    try:
        predictor.predict(card.medians())
    except (ModelError, InvalidInput) as error:
        raise ArtifactError(f"model: {folder} does not predict its card's medians: {error}") from error
    return predictor


def finite(results: list[Result], rows: Sequence[Sequence[float]]) -> list[Result]:
    """Return the rows' results, or raise InvalidInput for the first that is not finite."""
    if all(map(isfinite, results)):
        return results
    first = next(index for index, result in enumerate(results) if not isfinite(result))
    raise refusal(rows[first], FINITE_RESULT, f"instances[{first}]")


def refusal(features: Sequence[float], expected: str, name: str = "features") -> InvalidInput:
    """Blame the first value beyond single precision, in which trees work, else the whole row."""
    for index, value in enumerate(features):
        if abs(value) > LARGEST_SINGLE:
            return InvalidInput(f"{name}[{index}]", expected, repr(value))
    return InvalidInput(name, expected, repr(list(features))[:120])


def _portable(path: Path, sha256: str, card: Card) -> PortablePredictor:
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
    return PortablePredictor(card, scorer.scorer(model))


def _scikit_learn(folder: Path, card: Card) -> Predictor:
    try:
        from app.modelling import estimator  # takes a second, and the smaller image lacks its libraries
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"model: {folder} is not portable ({card.not_portable}) and {error.name} is not installed; "
            "build the image target runtime-full, or install app/requirements-full.txt"
        ) from error
    return estimator.load(folder, card)


def _answers(card: Card) -> tuple[Answer, ...]:
    """Return what the model of such a card may answer."""
    match len(card.classes):
        case 0:
            return ("value",)
        case 2:
            return "value", "sigmoid", "complement"
        case _:
            return ("index",)

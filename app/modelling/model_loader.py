"""Loader of a model folder: the portable model if there is one, else scikit-learn's."""

from __future__ import annotations

from pathlib import Path

from app.errors import ArtifactError, InvalidInput, ModelError
from app.modelling import artifact, portable_predictor
from app.modelling.artifact import Card
from app.modelling.predictor import Predictor


def load(folder: Path) -> Predictor:
    """Return the folder's model. Raises ArtifactError when it cannot be loaded or does not work."""
    card = artifact.load_card(folder)
    predictor: Predictor
    if card.portable:
        predictor = portable_predictor.load(folder / artifact.PORTABLE_FILE, card.portable.sha256, card)
    else:
        predictor = _scikit_learn(folder, card)
    try:
        predictor.predict(card.medians())
    except (ModelError, InvalidInput) as error:
        raise ArtifactError(f"model: {folder} does not predict its card's medians: {error}") from error
    return predictor


def _scikit_learn(folder: Path, card: Card) -> Predictor:
    try:
        from app.modelling import estimator  # takes a second, and the smaller image lacks its libraries
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"model: {folder} is not portable ({card.not_portable}) and {error.name} is not installed; "
            "build the image target runtime-full, or install app/requirements-full.txt"
        ) from error
    return estimator.load(folder, card)
